"""The training state: what is written, that it comes back exactly, and that a killed run loses nothing."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import get_scheduler

from hf_ser import Augmentation, finetune, recipe, training_arguments
from hf_ser.errors import InputError
from hf_ser.training import state
from hf_ser.training.state_file import Unwritable, read_state, require_writable, write_state

VALUES = {
    "numbers": [0, -3, 2**70, 0.1, 1e-310, float("inf"), True, None, "text"],
    "tuple": (1, (2.5, []), {}),
    "keyed": {0: "a", (1, "b"): {"$tensor": "a text that looks like a mark"}, "c": {"$float": 1, "d": 2}},
    "tensors": {7: torch.arange(6).reshape(2, 3).T, "half": torch.tensor(1.5, dtype=torch.bfloat16)},
    "shared": [memory := torch.arange(10.0), memory[2:4], memory],
}


def same(left, right):
    if isinstance(left, torch.Tensor):
        return type(right) is torch.Tensor and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return type(right) is dict and list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def test_a_state_comes_back_exactly(tmp_path):
    files = tmp_path / "state.json", tmp_path / "state.safetensors"
    write_state(VALUES, *files)
    assert same(VALUES, read_state(*files))
    write_state({"nan": float("nan")}, *files)
    assert np.isnan(read_state(*files)["nan"])


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, np.float32(1), torch.ones(2).to_sparse(), b"bytes", np.zeros(3)],
    ids=["object", "set", "scalar", "sparse", "bytes", "array"],
)
def test_what_is_no_plain_value_is_not_written(value):
    with pytest.raises(Unwritable, match=r"^a\.0 is a "):
        require_writable({"a": [value]})


class Training:
    """A small model with its optimizer, schedule and gradient scale."""

    def __init__(self, optimizer, schedule="linear", **options):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
        self.optimizer = optimizer(self.model.parameters(), **options)
        self.schedule = get_scheduler(schedule, self.optimizer, num_warmup_steps=2, num_training_steps=12)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**6, growth_interval=2)
        self.parts = {"optimizer": self.optimizer, "scheduler": self.schedule, "scaler": self.scaler, "devices": 1}

    def steps(self, count):
        for _ in range(count):
            # Each of the three generators has its say, and numpy's keeps half of a pair of normal numbers.
            factor = random.random() + np.random.normal()
            loss = (self.model(torch.randn(6, 4)) * factor).square().mean()
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            plateau = isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.schedule.step(*([loss.detach().item()] if plateau else []))
        return [parameter.detach().clone() for parameter in self.model.parameters()]


ADAMW = (torch.optim.AdamW, {"lr": 0.01})
KINDS = {
    "adamw": (*ADAMW, "linear"),
    "fused": (torch.optim.AdamW, {"lr": 0.01, "fused": True}, "cosine"),
    "rate in a tensor": (torch.optim.Adam, {"lr": torch.tensor(0.01), "amsgrad": True}, "constant"),
    "sgd": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}, "polynomial"),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01}, "inverse_sqrt"),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.01}, "cosine_with_restarts"),
    "plateau": (*ADAMW, "reduce_lr_on_plateau"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_with_the_same_bits(kind, tmp_path):
    optimizer, options, schedule = KINDS[kind]
    first = Training(optimizer, schedule, **options)
    first.steps(5)
    state.save_training_state(tmp_path, **first.parts)
    state.save_random_state(tmp_path, rank=3, cuda_devices=0)
    weights = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    expected = first.steps(5)

    second = Training(optimizer, schedule, **options)
    second.model.load_state_dict(weights)
    state.load_training_state(tmp_path, **second.parts)
    state.load_random_state(tmp_path, rank=3, cuda_devices=0)
    assert all(map(torch.equal, second.steps(5), expected))
    assert second.scaler.state_dict() == first.scaler.state_dict()
    assert second.schedule.get_last_lr() == first.schedule.get_last_lr()
    names = {"training_state.json", "optimizer.safetensors", "random_state_3.json", "random_state_3.safetensors"}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_a_state_of_something_else_is_one_line(tmp_path):
    training = Training(*ADAMW[:1], **ADAMW[1])
    training.steps(1)
    state.save_training_state(tmp_path, **training.parts)

    def refused(folder=tmp_path, **changes):
        with pytest.raises(InputError) as caught:
            state.load_training_state(folder, **{**training.parts, **changes})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is of a run on 1 devices, now there are 2" in refused(devices=2)
    other = torch.optim.AdamW([torch.zeros(2, requires_grad=True)])
    assert "damaged or of another training" in refused(optimizer=other)
    cut_off = shutil.copytree(tmp_path, tmp_path / "cut_off")
    (cut_off / "optimizer.safetensors").write_bytes(b"\x08\0\0\0")
    assert "damaged or of another training" in refused(cut_off)
    (cut_off / "optimizer.safetensors").unlink()
    assert "damaged or of another training" in refused(cut_off)
    (cut_off / "training_state.json").write_text('{"devices": 1}')
    assert "damaged or of another training" in refused(cut_off)
    (cut_off / "training_state.json").unlink()
    assert "holds no training_state.json" in refused(cut_off)
    (cut_off / "optimizer.pt").write_bytes(b"\x80")
    assert "as pickles, which are not read" in refused(cut_off)
    with pytest.raises(InputError, match="damaged or of another training"):
        state.load_random_state(tmp_path, rank=0, cuda_devices=0)


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path, caplog):
    state.save_random_state(tmp_path, rank=0, cuda_devices=0)
    state.load_random_state(tmp_path, rank=0, cuda_devices=1)
    assert "begun on the CPU and goes on CUDA" in caplog.text


# Dropout, augmentation and an order of clips that a checkpoint falls in the middle of.
RECIPES = {
    "full": recipe("full", encoder_settings={"hidden_dropout": 0.2}),
    "lora_qkv": recipe("lora_qkv", lora={**recipe("lora_qkv").lora, "lora_dropout": 0.2}, head_dropout=0.2),
    "lora_classifier": recipe("lora_classifier", head_dropout=0.2),
}
STEPS = {"max_steps": 7, "eval_strategy": "steps", "eval_steps": 3, "per_device_train_batch_size": 6}


def run(name, toy, encoder, folder, **options):
    return finetune(
        encoder, toy, recipe=RECIPES[name], output_dir=folder, augmentation=Augmentation(), cache_features=False,
        args=training_arguments(name, folder, use_cpu=True, disable_tqdm=True, **STEPS), keep_checkpoints=True,
        **options,
    )  # fmt: skip


def run_until_killed(name, toy, encoder, folder):
    from hf_ser.training.trainer import EmotionTrainer

    step = EmotionTrainer.training_step

    def step_or_die(self, *arguments, **options):
        if self.state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments, **options)

    EmotionTrainer.training_step = step_or_die
    run(name, toy, encoder, folder)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(name, toy, encoder, tmp_path):
    whole = run(name, toy, encoder(), tmp_path / "whole")
    child = multiprocessing.get_context("fork").Process(
        target=run_until_killed, args=(name, toy, encoder(), tmp_path / "killed")
    )
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    checkpoints = tmp_path / "killed" / "checkpoints"
    assert [entry.name for entry in checkpoints.glob("checkpoint-*")] == ["checkpoint-3"]
    resumed = run(name, toy, encoder(), tmp_path / "killed", resume=True)
    assert resumed.run["resumed"] is True
    assert resumed.metrics == whole.metrics
    assert resumed.run["history"] == whole.run["history"]
    weights = "model.safetensors" if name == "full" else "adapter_model.safetensors"
    for file in (weights, "predictions.csv"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    for file in (path for folder in ("whole", "killed") for path in (tmp_path / folder / "checkpoints").rglob("*")):
        if file.is_file():
            assert file.suffix in {".json", ".safetensors"}, file
            assert not file.read_bytes().startswith((b"\x80", b"PK")), file
    last = [(tmp_path / folder / "checkpoints" / "checkpoint-7") for folder in ("whole", "killed")]
    for file in ("optimizer.safetensors", "training_state.json", "random_state_0.safetensors", "random_state_0.json"):
        assert (last[0] / file).read_bytes() == (last[1] / file).read_bytes(), file


def test_a_checkpoint_with_pickles_is_refused_before_the_work_begins(toy, encoder, tmp_path, monkeypatch):
    from hf_ser.training import run as module

    def die(*_):
        raise KeyboardInterrupt

    name = "lora_classifier"
    with monkeypatch.context() as patch:
        patch.setattr(module, "clip_scores", die)
        with pytest.raises(KeyboardInterrupt):
            run(name, toy, encoder(), tmp_path / "out")
    for file in (tmp_path / "out" / "checkpoints").glob("checkpoint-*/training_state.json"):
        file.rename(file.with_name("optimizer.pt"))
    monkeypatch.setattr(module, "prepare_model", die)
    with pytest.raises(InputError, match=r"checkpoint-7 holds its training state as pickles"):
        run(name, toy, encoder(), tmp_path / "out", resume=True)
    assert json.loads((tmp_path / "out" / "checkpoints" / "settings.json").read_text())


class Remembering(torch.optim.SGD):
    """Keeps an object of its own in its state."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["trace"] = {1, 2}


def test_an_optimizer_that_cannot_be_saved_is_refused_before_training(toy, encoder, tmp_path, monkeypatch):
    from hf_ser.training.trainer import EmotionTrainer

    monkeypatch.setattr(EmotionTrainer, "get_optimizer_cls_and_kwargs", lambda *_: (Remembering, {"lr": 0.1}))
    with pytest.raises(InputError, match=r"optimizer Remembering: .*trace is a builtins\.set in its state"):
        run("lora_classifier", toy, encoder(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


TWO_PROCESSES = """
import os, signal, sys
from datasets import load_from_disk
from hf_ser import finetune, recipe, training_arguments
from hf_ser.training.trainer import EmotionTrainer

encoder, data, out, how = sys.argv[1:]
step = EmotionTrainer.training_step

def step_or_die(self, *arguments, **options):
    if self.state.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments, **options)

if how == "killed":
    EmotionTrainer.training_step = step_or_die
arguments = training_arguments(
    "full", out, max_steps=4, eval_strategy="steps", eval_steps=2, per_device_train_batch_size=4, use_cpu=True,
    disable_tqdm=True,
)
finetune(
    encoder, load_from_disk(data), recipe=recipe("full", encoder_settings={"hidden_dropout": 0.2}), output_dir=out,
    args=arguments, cache_features=False, resume=how == "resumed",
)
"""


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_and_one_may_not(toy, encoder, tmp_path):
    toy.save_to_disk(str(tmp_path / "toy"))
    (tmp_path / "run.py").write_text(TWO_PROCESSES)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]

    def run(folder, how, launcher=torchrun):
        words = [str(tmp_path / "run.py"), str(encoder()), str(tmp_path / "toy"), str(tmp_path / folder), how]
        return subprocess.run([sys.executable, *launcher, *words], capture_output=True, text=True, check=False)

    whole = run("whole", "whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    assert run("out", "killed").returncode != 0
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-2" / "random_state_1.json").is_file()
    assert "the run to resume had processes = 2, now it is 1; resume it as it was" in run("out", "resumed", []).stderr
    resumed = run("out", "resumed")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    for file in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
