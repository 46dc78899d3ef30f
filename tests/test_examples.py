"""The examples are short and run as they stand, on synthetic speech and a tiny encoder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from hf_ser.quickstart.corpora import write_synthetic_corpora
    from hf_ser.quickstart.encoder import write_tiny_encoder

    folder = tmp_path_factory.mktemp("examples")
    write_synthetic_corpora(folder / "corpora")
    write_tiny_encoder(folder / "encoder")
    return folder


def run(folder, name, *words):
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_example_is_short_and_tested():
    for file in EXAMPLES.glob("*.py"):
        assert len(file.read_text().splitlines()) < 80, file.name
        assert f'"{file.name}"' in Path(__file__).read_text(), f"{file.name} is run by no test"


def test_finetune_lora_then_use_the_adapter(folder):
    given = ("--model", "encoder", "--dataset", "corpora", "--output-dir", "out", "--max-steps", 3)
    assert "UAR on unseen speakers" in run(folder, "finetune_lora.py", *given)
    clips = sorted((folder / "corpora").rglob("*.wav"))[:2]
    assert run(folder, "use_adapter.py", "out", *clips).count("(plain peft)") == 2


def test_compare_recipes(folder):
    given = ("--model", "encoder", "--dataset", "corpora", "--output-dir", "runs", "--max-steps", 2)
    printed = run(folder, "compare_recipes.py", *given)
    for name in ("full", "lora_qkv", "lora_classifier"):
        assert f"{name} (seed 42)" in printed
