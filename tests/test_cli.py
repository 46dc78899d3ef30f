"""The command line: what it prints, where, and how it refuses input."""

import csv
import json
import os
import subprocess
import sys
from io import StringIO

import numpy as np
import pytest
import soundfile

from hf_ser.cli import build_parser, main
from hf_ser.cli.command import data_options
from hf_ser.errors import InputError

LABELS = ["angry", "calm", "happy", "sad"]


def run(capsys, *words):
    capsys.readouterr()
    code = main([str(word) for word in words])
    return (code, *capsys.readouterr())


def process(*words, **options):
    command = [sys.executable, "-m", "hf_ser", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory):
    """All corpora, as small as they can be split."""
    from hf_ser.quickstart.corpora import write_synthetic_corpora

    folder = tmp_path_factory.mktemp("miniature")
    write_synthetic_corpora(folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, encoder, miniature):
    """The folder of a run of two epochs, with what the process printed."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    done = process("finetune", "--model", encoder(), "--dataset", miniature, "--recipe", "lora_classifier",
                   "--output-dir", folder, "--num_train_epochs", 2, "--use_cpu", "true", "--disable_tqdm", "true",
                   "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    for number, name in enumerate(("b.wav", "a.flac", "deeper/c.wav")):
        soundfile.write(folder / name, np.sin(np.arange(8000) / (5 + number)), 16_000)
    (folder / "notes.txt").write_text("no audio")
    (folder / ".hidden.wav").touch()
    return folder


def audio(folder, name="OAF_back_angry.wav", content=None):
    folder.mkdir(parents=True, exist_ok=True)
    if content is None:
        soundfile.write(folder / name, [0.1, -0.1] * 4000, 16_000)
    else:
        (folder / name).write_bytes(content)
    return folder


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n"
BAD = {
    "missing folder": ("--dataset {tmp}/absent", "absent"),
    "no clip": ("--dataset {tmp}/songs", "songs"),
    "empty file": ("--dataset {tmp}/empty", "OAF_back_angry.wav"),
    "unreadable file": ("--dataset {tmp}/noise", "OAF_back_angry.wav"),
    "LFS pointer": ("--dataset {tmp}/pointer", "git lfs pull"),
    "one corpus that cannot be split": ("--dataset {tmp}/corpora", "corpora"),
    "unknown recipe": ("--recipe lora_kqv", "choose full, lora_qkv"),
    "unknown protocol": ("--protocol random", "speaker_independent"),
    "output in use": ("--output-dir {tmp}/songs", "songs"),
    "missing model": ("--model {tmp}/no-model", "no-model"),
    "value of the wrong type": ("--learning_rate fast", "learning"),
    "stray word": ("out", "unexpected argument 'out'"),
    "paper with arguments": ("--paper --seed 3", "--seed"),
    "recipe option without a value": ("--recipe-option head_dropout", "FIELD=VALUE"),
    "unknown recipe option": ("--recipe-option head_droput=0.1", "head_droput"),
    "no layer trains": ("--recipe-option trained_layers=0", "trained_layers 0 trains no layer"),
    "resume of nothing": ("--resume", "nothing to resume"),
    "views without augmentation": ("--augment-views 2", "give --augment"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(case, tmp_path, encoder, capsys, miniature):
    for name, file, content in (("corpora", "OAF_back_angry.wav", None), ("songs", "song.wav", None),
                                ("empty", "OAF_back_angry.wav", b""), ("noise", "OAF_back_angry.wav", b"RIFF nonsense"),
                                ("pointer", "OAF_back_angry.wav", POINTER)):  # fmt: skip
        audio(tmp_path / name, file, content)
    given, named = BAD[case]
    words = ["--model", encoder(), "--output-dir", tmp_path / "out"]
    words += [] if "--dataset" in given else ["--dataset", miniature]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, "finetune", *words, *given.format(tmp=tmp_path).split())
    # Progress bars rewrite their line; the message stands after the last of them.
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("hf-ser")]
    assert (code, out, len(lines)) == (2, "", 1)
    assert named in lines[0]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("finetune {needed} --lr 1e-4", "unknown option '--lr'; use --learning_rate"),
        ("finetune {needed} --epochs=3", "unknown option '--epochs'; use --num_train_epochs"),
        ("finetune {needed} --batch_size 4", "unknown option '--batch_size'; use --per_device_train_batch_size"),
        ("finetune {needed} --device cuda", "use --use_cpu true for the processor, or CUDA_VISIBLE_DEVICES=N"),
        ("finetune {needed} --learnign_rate 1", "unknown option '--learnign_rate'; did you mean --learning_rate?"),
        ("finetune {needed} --recipe-opt x=1", "did you mean --recipe-option?"),
        ("finetune {needed} --flavour red", "unknown option '--flavour'; see hf-ser finetune --help"),
        ("finetune {needed} --streaming", "--streaming is no longer an option: the data set is read from the disk"),
        ("finetune {needed} --seconds-per-batch 48", "give --per_device_train_batch_size N"),
        ("finetune {needed} --cache-gigabytes 3", "set HF_SER_CACHE to a folder"),
        ("finetune {needed} --no-feature-cache", "set HF_SER_CACHE=off"),
        ("finetune {needed} --no-audio-cache", "set HF_SER_CACHE=off"),
        ("finetune {needed} --fsdp_config x", "--fsdp_config is no longer an option: lower --per_device"),
        ("finetune {needed} --keep-checkpoints", "--push-to USER/NAME keeps every save"),
        ("predict model clip.wav --batchsize 3", "did you mean --batch-size?"),
        ("evaluate model --dataset . --output DIR", "did you mean --output-dir?"),
        ("summary model --labells 4", "did you mean --labels?"),
    ],
)
def test_an_unknown_option_names_what_to_give_instead(words, named, capsys):
    code, out, err = run(capsys, *words.format(needed="--model m --dataset . --output-dir o").split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


@pytest.mark.parametrize("option", ["--dataset absent", "--recipe lora_kqv"])
def test_a_mistyped_name_is_reported_before_anything_heavy_is_imported(option):
    code = f"""
import sys
from hf_ser.cli import main
words = "finetune --model m --dataset . --output-dir o --learning_rate 1e-4 {option}".split()
assert main(words) == 2
print(sorted({{"torch", "transformers", "datasets", "peft"}} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_help_lists_precision_device_and_logging(capsys):
    with pytest.raises(SystemExit):
        main(["finetune", "--help"])
    printed = capsys.readouterr().out
    for option in ("--bf16 true", "--use_cpu true", "CUDA_VISIBLE_DEVICES=1", "--logging_steps 50", "--report_to"):
        assert option in printed


def test_options_become_fields_of_the_recipe():
    from hf_ser.cli.finetune import chosen_recipe

    words = ["finetune", "--model", "m", "--dataset", "d", "--output-dir", "o", "--segment-seconds", "4",
             "--recipe-option", 'lora={"r": 8}', "--recipe-option", "head_dropout=0.1"]  # fmt: skip
    chosen = chosen_recipe(build_parser().parse_args([*words, "--patience", "2"]))
    assert (chosen.segment_seconds, chosen.patience, chosen.head_dropout) == (4.0, 2, 0.1)
    assert chosen.lora["r"] == 8
    assert chosen.lora["target_modules"] == ("q_proj", "k_proj", "v_proj")
    assert chosen_recipe(build_parser().parse_args([*words, "--no-early-stopping"])).patience is None


def test_debug_shows_the_traceback_without_tokens(capsys, monkeypatch):
    import hf_ser.models.summary

    def refuse(*given, **options):
        raise InputError("the server said: Bearer hf_secretsecret")

    monkeypatch.setattr(hf_ser.models.summary, "summarize_recipes", refuse)
    code, _, err = run(capsys, "--debug", "summary", "m")
    assert code == 2
    assert "Traceback" in err
    assert err.endswith("hf-ser summary: the server said: Bearer hf_***\n")
    assert "secret" not in err


def test_an_interrupt_ends_with_130_and_a_defect_with_1(capsys, monkeypatch):
    import hf_ser.models.summary

    for error, expected in ((KeyboardInterrupt(), 130), (ZeroDivisionError("hf_secretsecret"), 1)):

        def fail(*given, error=error, **options):
            raise error

        monkeypatch.setattr(hf_ser.models.summary, "summarize_recipes", fail)
        code, _, err = run(capsys, "summary", "m")
        assert code == expected
        assert "secret" not in err


def test_another_process_of_torchrun_names_its_rank_and_prints_no_result(capsys, encoder, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    assert run(capsys, "summary", encoder())[:2] == (0, "")
    code, _, err = run(capsys, "summary", "no/such-model")
    assert code == 2
    assert err.startswith("hf-ser summary [rank 1]: model 'no/such-model'")


def test_the_process_exits_with_two():
    done = process("summary", "no/such/model")
    assert done.returncode == 2
    assert done.stderr.startswith("hf-ser summary: model 'no/such/model'")
    assert done.stderr.count("\n") == 1


def test_finetune_prints_json_alone(finished):
    folder, done = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert json.loads(done.stdout) == metrics["test"]
    assert "synthes" in (folder / "README.md").read_text().lower()


def test_evaluate_gives_the_digits_of_the_run(finished, miniature, tmp_path, capsys):
    folder, _ = finished
    words = ["evaluate", folder, "--dataset", miniature]
    code, printed, _ = run(capsys, *words, "--json")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert code == 0
    assert json.loads(printed) == {key: metrics[key] for key in ("labels", "test")}
    code, printed, _ = run(capsys, *words, "--part", "validation", "--output-dir", tmp_path / "judged")
    assert code == 0
    assert f"{100 * metrics['validation']['pooled']['uar']:.1f}" in printed
    assert json.loads((tmp_path / "judged" / "metrics.json").read_text())["validation"] == metrics["validation"]


def test_a_finished_run_is_not_replaced_unasked(finished, miniature, encoder, capsys):
    folder, _ = finished
    code, _, err = run(capsys, "finetune", "--model", encoder(), "--dataset", miniature, "--output-dir", folder)
    assert code == 2
    assert "finished run" in err


def test_predict_refuses_a_revision_of_a_folder(finished, recordings, capsys):
    folder, _ = finished
    code, _, err = run(capsys, "predict", folder, recordings, "--revision", "v2")
    assert code == 2
    assert "v2" in err


def test_predict_prints_a_line_for_each_file(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    code, printed, err = run(capsys, "predict", model, recordings / "deeper/c.wav", recordings)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in printed.splitlines()]
    names = ["deeper/c.wav", "a.flac", "b.wav", "deeper/c.wav"]
    assert [line[0] for line in lines] == [str(recordings / name) for name in names]
    assert lines[0] == lines[3]
    assert all(line[1] in LABELS and 0.25 <= float(line[2]) <= 1 for line in lines)


def test_predict_prints_every_score_as_json_and_csv(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    _, printed, _ = run(capsys, "predict", model, recordings, "--json", "--batch-size", "1")
    objects = [json.loads(line) for line in printed.splitlines()]
    assert [sorted(entry) for entry in objects] == [["file", "label", "scores"]] * 3
    _, printed, _ = run(capsys, "predict", model, recordings, "--csv")
    rows = list(csv.DictReader(StringIO(printed)))
    assert list(rows[0]) == ["file", "label", *LABELS, "error"]
    for row, entry in zip(rows, objects, strict=True):
        assert (row["file"], row["label"], row["error"]) == (entry["file"], entry["label"], "")
        assert all(float(row[label]) == pytest.approx(entry["scores"][label], abs=1e-5) for label in LABELS)


def test_predict_reports_each_file_that_cannot_be_read(capsys, encoder, recordings):
    model = encoder(labels=LABELS)
    for name in ("aa.wav", "voice.m4a", "call.webm"):
        (recordings / name).write_text("no audio")
    code, printed, err = run(capsys, "predict", model, recordings)
    assert code == 2
    assert len(printed.splitlines()) == 3
    *reports, last = err.splitlines()
    assert len(reports) == 3
    assert reports[0].startswith(f"hf-ser predict: {recordings / 'aa.wav'}: ")
    assert last == "hf-ser predict: 3 of 6 files could not be classified"
    _, printed, _ = run(capsys, "predict", model, recordings, "--json")
    assert [sorted(json.loads(line)) for line in printed.splitlines()].count(["error", "file"]) == 3
    _, printed, _ = run(capsys, "predict", model, recordings, "--csv")
    errors = {row["file"]: bool(row["error"]) for row in csv.DictReader(StringIO(printed))}
    assert [name for name, failed in errors.items() if failed] == [
        str(recordings / name) for name in ("aa.wav", "call.webm", "voice.m4a")
    ]


def test_predict_escapes_what_a_file_name_may_do_to_a_terminal_or_a_spreadsheet(capsys, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    latin, forged, formula = os.fsdecode(b"f\xe9e.wav"), "a\nb.wav\thappy\t1.000.wav", "=1+1.wav"
    for name in (latin, forged, formula):
        soundfile.write(os.open(name, os.O_CREAT | os.O_RDWR), np.sin(np.arange(8000)), 16_000, format="WAV")
    model = encoder(labels=LABELS)
    code, printed, _ = run(capsys, "predict", model, latin, forged, formula)
    assert code == 0
    assert [line.split("\t")[0] for line in printed.splitlines()] == [
        "f\\udce9e.wav", "a\\nb.wav\\thappy\\t1.000.wav", formula,
    ]  # fmt: skip
    _, printed, _ = run(capsys, "predict", model, formula, "--csv")
    assert printed.splitlines()[1].startswith("'=1+1.wav,")


def test_predict_names_a_folder_without_audio(capsys, encoder, tmp_path):
    (tmp_path / "notes.txt").write_text("no audio")
    code, _, err = run(capsys, "predict", encoder(labels=LABELS), tmp_path)
    assert code == 2
    assert f"folder '{tmp_path}' holds no audio" in err


def test_a_reader_that_goes_away_ends_it_quietly(encoder, recordings):
    command = [sys.executable, "-m", "hf_ser", "predict", encoder(labels=LABELS), recordings, "--json"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(list(map(str, command)), stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_summary_and_splits_print_text_or_json(capsys, encoder, miniature):
    code, printed, _ = run(capsys, "summary", encoder(), "--recipe", "lora_qkv")
    assert code == 0
    assert "lora_qkv" in printed
    assert json.loads(run(capsys, "summary", encoder(), "--json")[1])["trainable"].keys() >= {"full", "lora_qkv"}
    assert run(capsys, "summary", encoder(), "--recipe", "lora_kqv")[0] == 2
    code, printed, shown = run(capsys, "splits", miniature)
    assert code == 0
    assert "No speaker is in" in printed
    assert "Casting" not in shown
    assert json.loads(run(capsys, "splits", miniature, "--json")[1])


def test_labels_and_columns_are_read_from_pairs_or_a_file(tmp_path):
    words = ["check", str(tmp_path), "--labels", str(tmp_path / "map.yaml"), "--columns", "label=Emotion, speaker=spk"]
    (tmp_path / "map.yaml").write_text("Wut: angry\nno: nein\n0: happy\nEkel: ~\nTrauer:\n")
    found = data_options(build_parser().parse_args(words))
    assert found["labels"] == {"Wut": "angry", "no": "nein", "0": "happy", "Ekel": "", "Trauer": ""}
    assert found["columns"] == {"label": "Emotion", "speaker": "spk"}
    pairs = data_options(
        build_parser().parse_args(["check", str(tmp_path), "--labels", "a=b,c=", "--acted", "no", "--strict"])
    )
    assert pairs == {"labels": {"a": "b", "c": ""}, "acted": False, "strict": True}
    (tmp_path / "list.yaml").write_text("- a\n")
    absent, listed = str(tmp_path / "absent.yaml"), str(tmp_path / "list.yaml")
    for value, said in (("a", "'a' is not NAME=VALUE"), (absent, "cannot be read"), (listed, "is not a mapping")):
        with pytest.raises(InputError, match=said):
            data_options(build_parser().parse_args(["check", str(tmp_path), "--labels", value]))
    with pytest.raises(InputError, match="give yes or no"):
        data_options(build_parser().parse_args(["check", str(tmp_path), "--acted", "perhaps"]))
