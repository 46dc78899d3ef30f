"""Bad input at the command line: one line on stderr, exit code 2, nothing half-written."""

import os
import subprocess
import sys

import pytest
import soundfile

from hf_ser.cli import main


def run(capsys, *words):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def clip(folder, name="OAF_back_angry.wav", content=None):
    folder.mkdir(parents=True, exist_ok=True)
    if content is None:
        soundfile.write(folder / name, [0.1, -0.1] * 4000, 16_000)
    else:
        (folder / name).write_bytes(content)
    return folder


def bad_inputs(tmp_path, encoder):
    corpora = clip(tmp_path / "corpora")
    busy = clip(tmp_path / "busy", "thesis.wav")
    pointer = clip(tmp_path / "pointer", content=b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 1\n")
    return {
        "missing folder": (["--dataset", tmp_path / "absent"], "absent"),
        "no clip": (["--dataset", clip(tmp_path / "songs", "song.wav")], "songs"),
        "empty file": (["--dataset", clip(tmp_path / "empty", content=b"")], "OAF_back_angry.wav"),
        "unreadable file": (["--dataset", clip(tmp_path / "noise", content=b"RIFF nonsense")], "OAF_back_angry.wav"),
        "LFS pointer": (["--dataset", pointer], "git lfs pull"),
        "unknown recipe": (["--recipe", "lora_kqv"], "choose full, lora_qkv or lora_classifier"),
        "unknown protocol": (["--protocol", "random"], "speaker_independent"),
        "output in use": (["--output-dir", busy], "busy"),
        "missing model": (["--model", tmp_path / "no-model"], "no-model"),
        "unknown option": (["--learnign_rate", "1"], "--learnign_rate"),
        "bad value": (["--learning_rate", "fast"], "learning"),
        "paper with options": (["--paper", "--seed", "3"], "--seed"),
        "recipe option": (["--recipe-option", "head_dropout"], "FIELD=VALUE"),
        "unknown recipe option": (["--recipe-option", "head_droput=0.1"], "head_droput"),
        "resume of nothing": (["--resume"], "no run to resume"),
        "one corpus that cannot be split": (["--dataset", corpora], "corpora"),
        "views of nothing": (["--augment-views", "2"], "give --augment"),
        "a cache of nothing": (["--cache-gigabytes", "0"], "cache_gigabytes is 0"),
        "a batch of no time": (["--seconds-per-batch", "0"], "seconds_per_batch is 0"),
        "no layer trains": (["--recipe-option", "trained_layers=0"], "trained_layers 0 trains no layer"),
    }


CASES = [
    "missing folder", "no clip", "empty file", "unreadable file", "LFS pointer", "unknown recipe", "unknown protocol",
    "output in use", "missing model", "unknown option", "bad value", "paper with options", "recipe option",
    "unknown recipe option", "resume of nothing", "one corpus that cannot be split",
    "views of nothing", "a cache of nothing", "a batch of no time", "no layer trains",
]  # fmt: skip


@pytest.fixture
def miniature(tmp_path_factory):
    """All corpora, one clip a speaker and emotion where they are needed: enough to be split."""
    from hf_ser.quickstart.corpora import write_synthetic_corpora

    folder = tmp_path_factory.getbasetemp() / "miniature"
    if not folder.exists():
        write_synthetic_corpora(folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_leaves_nothing(case, tmp_path, encoder, capsys, miniature):
    given, named = bad_inputs(tmp_path, encoder)[case]
    words = {"--model": encoder(), "--dataset": miniature, "--output-dir": tmp_path / "out"}
    flags = [word for word in given if word in ("--resume", "--paper")]
    pairs = [word for word in given if word not in flags]
    extra = []
    for option, value in zip(pairs[::2], pairs[1::2], strict=True):
        if option in words:
            words[option] = value
        else:
            extra += [option, value]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, "finetune", *[word for pair in words.items() for word in pair], *flags, *extra)
    # Progress bars rewrite their line; the message is what stands after the last of them.
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.startswith("hf-ser")]
    assert code == 2
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in err
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(tmp_path, encoder):
    with pytest.raises(ValueError, match="absent"):
        main(["--debug", "finetune", "--model", str(encoder()), "--dataset", str(tmp_path / "absent"),
              "--output-dir", str(tmp_path / "out")])  # fmt: skip


def test_the_process_exits_with_two():
    words = [sys.executable, "-m", "hf_ser", "summary", "no/such/model"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.startswith("hf-ser summary: model 'no/such/model'")
    assert done.stderr.count("\n") == 1


def test_finetune_and_predict_from_the_command_line(tmp_path, encoder, capsys, miniature):
    out = tmp_path / "out"
    words = [
        "finetune",
        "--model",
        encoder(),
        "--dataset",
        miniature,
        "--recipe",
        "lora_classifier",
        "--output-dir",
        out,
    ]
    code, printed, _ = run(capsys, *words, "--num_train_epochs", "2", "--use_cpu", "true", "--seed", "3")
    assert code == 0
    assert "| lora_classifier | pooled" in printed
    assert str(out) in printed
    file = next(miniature.rglob("*.wav"))
    code, printed, _ = run(capsys, "predict", out, file)
    assert code == 0
    assert printed.split("\t")[0] == str(file)
    assert "synthes" in (out / "README.md").read_text().lower()
    code, _, err = run(capsys, "predict", out, file, "--revision", "v2")
    assert code == 2
    assert f"hf-ser predict: model '{out}' is a folder, which has no revision 'v2'" in err
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "finished run" in err


def test_summary_prints_the_table(capsys, encoder):
    code, printed, _ = run(capsys, "summary", encoder(), "--recipe", "lora_qkv")
    assert code == 0
    assert "lora_qkv" in printed
    assert run(capsys, "summary", encoder(), "--recipe", "lora_kqv")[0] == 2


def test_splits_prints_the_proof(capsys, miniature):
    code, printed, _ = run(capsys, "splits", miniature)
    assert code == 0
    assert "No speaker is in two parts" in printed
