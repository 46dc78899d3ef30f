"""What the README prints is what a reader can run."""

import re
import shlex
from pathlib import Path

import pytest

from dataset_files import noise, write_wav
from hf_ser import recipe
from hf_ser.cli import build_parser, main
from hf_ser.cli.finetune import DROPPED, training_fields

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/own-data.md").read_text()
EVALUATION = (ROOT / "docs/evaluation.md").read_text()
SNIPPET = re.compile(r"(<!-- (?:not run|needs the Hub)[^\n]*\n)?```(bash|python)\n(.*?)```", flags=re.S)
BLOCKS = SNIPPET.findall(README)


def commands(text):
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def test_there_are_snippets():
    assert {language for _, language, _ in BLOCKS} == {"bash", "python"}


def test_the_recipe_of_the_readme_is_one(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    (tmp_path / "mine.yaml").write_text(text)
    first, second = recipe(str(tmp_path / "mine.yaml")).in_stages
    assert (first.encoder_is_frozen, second.lora["r"], second.layers) == (True, 8, "all")


@pytest.fixture(scope="module")
def after_quickstart(tmp_path_factory):
    from hf_ser.quickstart.corpora import write_synthetic_corpora
    from hf_ser.quickstart.encoder import write_tiny_encoder

    folder = tmp_path_factory.mktemp("reader")
    write_synthetic_corpora(folder / "quickstart" / "corpora")
    write_tiny_encoder(folder / "quickstart" / "encoder")
    return folder


def test_every_snippet_runs_as_printed(after_quickstart, monkeypatch):
    monkeypatch.chdir(after_quickstart)
    names = {}
    for skipped, language, text in BLOCKS:
        if skipped:
            continue
        if language == "python":
            exec(compile(text, "README.md", "exec"), names)
            continue
        for words in commands(text):
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
            elif words[0] == "pip":
                assert words == ["pip", "install", "."]
            elif words != ["hf-ser", "quickstart"]:
                # The quickstart has tests of its own; `after_quickstart` holds what it leaves.
                assert words[0] == "hf-ser"
                assert main(words[1:]) == 0, words
    assert (after_quickstart / "out" / "adapter_model.safetensors").is_file()


def test_what_needs_the_hub_runs_against_one_on_loopback(after_quickstart, hub):
    assert (after_quickstart / "out-classifier").is_dir(), "this test follows the one before it"
    on_the_hub = [(language, text) for skipped, language, text in BLOCKS if "needs the Hub" in skipped]
    assert {language for language, _ in on_the_hub} == {"bash", "python"}
    for language, text in on_the_hub:
        code = text.replace("USER/", "alice/")
        if language == "bash":
            lines = commands(code)
            assert all(words[0] == "hf-ser" for words in lines)
            code = "\n".join(["from hf_ser.cli import main", *(f"assert main({words[1:]!r}) == 0" for words in lines)])
        hub.run(code, token=hub.token("alice"), cwd=after_quickstart)
    assert "model.safetensors" in hub.paths("alice/hubert-ser")
    assert "eer.py" in hub.paths("alice/eer", kind="space")


def test_every_command_of_the_guide_to_own_data_runs_as_printed(after_quickstart, hub, monkeypatch, capsys):
    monkeypatch.chdir(after_quickstart)
    speakers, labels, lines = ("anna", "bea", "cleo", "dora", "eva", "fay"), ("anger", "boredom", "sadness"), []
    for place, (speaker, label) in enumerate((speaker, label) for speaker in speakers for label in labels):
        write_wav(Path(f"voices/clips/{speaker}_{label}.wav"), noise(place, 6000))
        lines.append(f"clips/{speaker}_{label}.wav,{label},{speaker}")
    Path("voices/table.csv").write_text("\n".join(["path,emotion,speaker", *lines]) + "\n")
    without = [line.rpartition(",")[0] for line in lines]
    Path("voices/no-speakers.csv").write_text("\n".join(["path,emotion", *without]) + "\n")
    blocks = SNIPPET.findall(GUIDE)
    assert [language for _, language, _ in blocks].count("bash") == len(blocks) >= 7
    for skipped, _, text in blocks:
        if skipped:
            words = [f"assert main({line[1:]!r}) == 0" for line in commands(text.replace("USER/", "alice/"))]
            code = "\n".join(["from hf_ser.cli import main", *words])
            hub.run(code, token=hub.token("alice"), cwd=after_quickstart)
            continue
        for line in commands(text):
            assert line[0] == "hf-ser"
            assert main(line[1:]) == 0, line
    assert "leave_speaker_out" not in capsys.readouterr().err
    assert hub.repo("alice/voices", kind="dataset").gated == "auto"
    assert "model.safetensors" in hub.paths("alice/voices-ser")
    card = Path("voices-model/README.md").read_text()
    assert "boredom" in card
    assert "speech (de)" in card
    assert "English" not in card


def test_every_snippet_of_the_guide_to_evaluation_runs_as_printed(after_quickstart, monkeypatch, capsys):
    assert (after_quickstart / "out-classifier").is_dir(), "this test follows that of the README"
    monkeypatch.chdir(after_quickstart)
    from hf_ser.audio.disturbances import DISTURBANCES
    from hf_ser.evaluation.suite import SECTIONS

    monkeypatch.setattr("hf_ser.evaluation.latency._MOST_SECONDS", 0.01)
    blocks = SNIPPET.findall(EVALUATION)
    assert len(blocks) >= 7
    for _, language, text in blocks:
        if language == "python":
            exec(compile(text, "evaluation.md", "exec"), {})
            assert "quieter" in DISTURBANCES
            assert "length" in SECTIONS
            del DISTURBANCES["quieter"], SECTIONS["length"]
        for line in commands(text) if language == "bash" else ():
            assert line[0] == "hf-ser"
            assert main(line[1:]) == 0, line
    assert Path("out-evaluation/report.html").is_file()
    assert "## Calibration" in Path("out-suite/report.md").read_text()
    assert "Across corpora" in Path("out-benchmark/benchmark.md").read_text()


def test_commands_that_need_a_gpu_have_options_that_exist():
    checked = 0
    for skipped, _, text in BLOCKS:
        for words in commands(text) if "not run" in skipped else []:
            start = words.index("hf-ser") if "hf-ser" in words else words.index("hf_ser")
            options, more = build_parser().parse_known_args(words[start + 1 :])
            training_fields(more, options.parser)
            assert options.command == "finetune"
            checked += 1
    assert checked >= 4


def test_every_option_that_the_text_names_exists_or_is_refused_with_a_way_out(capsys):
    for command in ("finetune", "evaluate", "compare", "benchmark", "predict", "build", "check", "push"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    known = set(re.findall(r"--[a-z][\w-]+", capsys.readouterr().out))
    prose = re.sub(r"```.*?```", "", README + GUIDE + EVALUATION, flags=re.S)
    assert set(re.findall(r"`(--[a-z][\w-]+)", prose)) - known == set(DROPPED)


def test_the_parameters_of_the_recipes_are_those_of_the_summary():
    from transformers import HubertConfig

    from hf_ser.models.summary import summarize_recipes

    large = HubertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True,
    )  # fmt: skip
    found = summarize_recipes(large).as_dict()["trainable"]
    for name, parameters in found.items():
        assert re.search(rf"^\| `{name}` \|.*\| {parameters:,} \|$", README, flags=re.M), (name, parameters)
