"""The loss of a step is the mean over its clips, however they are spread over accumulation and processes."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from datasets import load_from_disk
from hf_ser import finetune, training_arguments
encoder, data, out, recipe, batch, accumulation = sys.argv[1:]
arguments = training_arguments(
    recipe, out, learning_rate=0.0, num_train_epochs=1, per_device_train_batch_size=int(batch),
    gradient_accumulation_steps=int(accumulation), logging_steps=1, use_cpu=True, disable_tqdm=True,
)
finetune(encoder, load_from_disk(data), recipe=recipe, output_dir=out, args=arguments, cache_features=False)
"""


@pytest.mark.parametrize("recipe", ["full", pytest.param("lora_classifier", marks=pytest.mark.slow)])
def test_the_loss_does_not_scale_with_accumulation_or_processes(recipe, toy, encoder, tmp_path):
    toy.save_to_disk(str(tmp_path / "toy"))
    (tmp_path / "run.py").write_text(SCRIPT)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
    losses, uars = {}, {}
    for name, launcher, batch, accumulation in (
        ("one process", [], 8, 1),
        ("accumulation", [], 2, 4),
        ("two processes", torchrun, 4, 1),
    ):
        out = tmp_path / name.replace(" ", "_")
        words = [str(encoder()), str(tmp_path / "toy"), str(out), recipe, str(batch), str(accumulation)]
        command = [sys.executable, *launcher, str(tmp_path / "run.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stderr[-2000:]
        run = json.loads((out / "run.json").read_text())
        losses[name], uars[name] = run["training_loss"], json.loads((out / "metrics.json").read_text())["test"]
    assert losses["accumulation"] == pytest.approx(losses["one process"], rel=1e-4)
    assert losses["two processes"] == pytest.approx(losses["one process"], rel=1e-4)
    assert uars["two processes"]["pooled"]["confusion"] == uars["one process"]["pooled"]["confusion"]
