"""The loss of a step is the mean over its clips, however they are spread over accumulation and processes."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from datasets import load_from_disk
import hf_ser
from hf_ser import finetune, training_arguments
encoder, data, out, recipe, batch, accumulation, seconds = sys.argv[1:]
arguments = training_arguments(
    recipe, out, learning_rate=0.0, num_train_epochs=1, per_device_train_batch_size=int(batch),
    gradient_accumulation_steps=int(accumulation), logging_steps=1, use_cpu=True, disable_tqdm=True,
)
chosen = hf_ser.recipe(recipe, head_dropout=0.0)
finetune(encoder, load_from_disk(data), recipe=chosen, output_dir=out, args=arguments, cache_features=False,
         seconds_per_batch=float(seconds) or None)
"""


@pytest.mark.parametrize("recipe", ["full", pytest.param("lora_classifier", marks=pytest.mark.slow)])
def test_the_loss_does_not_scale_with_batches_accumulation_or_processes(recipe, toy, encoder, tmp_path):
    """A whole epoch is one step, of 31 clips that no way of dealing them out shares evenly."""
    from datasets import DatasetDict

    DatasetDict({**toy, "train": toy["train"].select(range(31))}).save_to_disk(str(tmp_path / "toy"))
    (tmp_path / "run.py").write_text(SCRIPT)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
    runs = {}
    for name, launcher, batch, accumulation, seconds in (
        ("one batch", [], 31, 1, 0.0),
        ("accumulated seconds", [], 16, 100, 2.3),
        ("two processes", torchrun, 4, 100, 0.0),
    ):
        out = tmp_path / name.replace(" ", "_")
        words = [encoder(), tmp_path / "toy", out, recipe, batch, accumulation, seconds]
        command = [sys.executable, *launcher, str(tmp_path / "run.py"), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stderr[-2000:]
        runs[name] = json.loads((out / "run.json").read_text())
        runs[name]["test"] = json.loads((out / "metrics.json").read_text())["test"]
        assert runs[name]["steps"] == 1
    for name in ("accumulated seconds", "two processes"):
        assert runs[name]["training_loss"] == pytest.approx(runs["one batch"]["training_loss"], rel=1e-4), name
        assert runs[name]["test"]["pooled"]["confusion"] == runs["one batch"]["test"]["pooled"]["confusion"]
    if recipe == "full":
        assert runs["accumulated seconds"]["padding_share"] < runs["one batch"]["padding_share"]
