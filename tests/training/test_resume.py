"""A run that was killed goes on and ends with the same bits."""

import json
import multiprocessing
import os
import signal

import pytest

from hf_ser import Augmentation, finetune, recipe, training_arguments
from hf_ser.training import run as run_module
from hf_ser.training.trainer import EmotionTrainer

# Dropout, augmentation, and checkpoints within an epoch, which has six steps.
RECIPES = {
    "full": recipe("full", encoder_settings={"hidden_dropout": 0.2}),
    "lora_qkv": recipe("lora_qkv", lora={"lora_dropout": 0.2}, head_dropout=0.2),
    "lora_classifier": recipe("lora_classifier", head_dropout=0.2, batch_size=6),
}
WEIGHTS = {name: "model.safetensors" if name == "full" else "adapter_model.safetensors" for name in RECIPES}


def run(chosen, toy, encoder, folder, *, steps=None, augmentation=None, **options):
    steps = steps or {"max_steps": 7, "eval_strategy": "steps", "eval_steps": 3}
    arguments = training_arguments(
        chosen, folder, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=6, **steps
    )
    return finetune(
        encoder, toy, recipe=chosen, output_dir=folder, augmentation=augmentation, args=arguments, **options
    )


def end_at(step, end):
    """Return a `training_step` that ends the process, or the training, before that step is done."""
    original = EmotionTrainer.training_step

    def step_or_end(self, *arguments, **options):
        if self.state.global_step == step:
            end()
        return original(self, *arguments, **options)

    return step_or_end


def interrupt(*_, **__):
    raise KeyboardInterrupt


def interrupted(monkeypatch, place, name, replacement, *arguments, **options):
    """Start a run that ends by Ctrl-C."""
    with monkeypatch.context() as patch:
        patch.setattr(place, name, replacement)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments, **options)


def same(one, other, name):
    assert one.metrics == other.metrics
    assert one.run["history"] == other.run["history"]
    assert (one.run["steps"], one.run["best"], one.run["stopped"]) == (
        other.run["steps"], other.run["best"], other.run["stopped"])  # fmt: skip
    for file in (WEIGHTS[name], "predictions.csv"):
        assert (one.output_dir / file).read_bytes() == (other.output_dir / file).read_bytes(), file


# Not a fork of this process: its threads are gone in the child, and torch still counts on them.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["hf_ser.training.run"])


def run_until_killed(name, toy, encoder, folder):
    EmotionTrainer.training_step = end_at(5, lambda: os.kill(os.getpid(), signal.SIGKILL))
    run(RECIPES[name], toy, encoder, folder, augmentation=Augmentation())


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_killed_run_goes_on_as_if_it_had_not_been(name, toy, encoder, tmp_path):
    whole = run(RECIPES[name], toy, encoder(), tmp_path / "whole", augmentation=Augmentation())
    child = PROCESSES.Process(target=run_until_killed, args=(name, toy, encoder(), tmp_path / "killed"))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    checkpoints = tmp_path / "killed" / "checkpoints"
    assert {entry.name for entry in checkpoints.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-3"}
    resumed = run(RECIPES[name], toy, encoder(), tmp_path / "killed", augmentation=Augmentation(), resume=True)
    assert resumed.run["resumed"] is True
    same(resumed, whole, name)
    assert not checkpoints.exists()


@pytest.mark.parametrize(("name", "step"), [("full", 7), ("lora_qkv", 12), ("lora_classifier", 11)])
def test_an_interrupted_run_goes_on_from_the_epoch_before(name, step, toy, encoder, tmp_path, monkeypatch):
    epochs = {"num_train_epochs": 3}
    whole = run(RECIPES[name], toy, encoder(), tmp_path / "whole", steps=epochs)
    ending, out = end_at(step, interrupt), tmp_path / "out"
    interrupted(monkeypatch, EmotionTrainer, "training_step", ending, RECIPES[name], toy, encoder(), out, steps=epochs)
    resumed = run(RECIPES[name], toy, encoder(), tmp_path / "out", steps=epochs, resume=True)
    same(resumed, whole, name)


@pytest.mark.parametrize("patience", [1, None])
def test_a_run_killed_after_its_last_step_trains_no_further(patience, toy, encoder, tmp_path, monkeypatch):
    """Trainer would take one more step, within an epoch or after early stopping."""
    chosen = recipe("lora_classifier", patience=patience, learning_rate=0.0)
    steps = {"max_steps": 9, "eval_strategy": "steps", "eval_steps": 3}
    whole = run(chosen, toy, encoder(), tmp_path / "whole", steps=steps)
    assert whole.run["steps"] == (3 if patience else 9)
    interrupted(monkeypatch, run_module, "_finish", interrupt, chosen, toy, encoder(), tmp_path / "out", steps=steps)
    resumed = run(chosen, toy, encoder(), tmp_path / "out", steps=steps, resume=True)
    same(resumed, whole, "lora_classifier")
    assert resumed.run["stopped"] == (
        "no better validation UAR in 1 evaluations" if patience else "all 9 steps are done"
    )


def test_more_steps_may_be_given(toy, encoder, tmp_path, monkeypatch):
    chosen = recipe("lora_classifier")
    few = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "lr_scheduler_type": "constant"}
    interrupted(monkeypatch, run_module, "_finish", interrupt, chosen, toy, encoder(), tmp_path / "out", steps=few)
    resumed = run(chosen, toy, encoder(), tmp_path / "out", steps={**few, "max_steps": 8}, resume=True)
    whole = run(chosen, toy, encoder(), tmp_path / "whole", steps={**few, "max_steps": 8})
    same(resumed, whole, "lora_classifier")
    assert resumed.run["steps"] == 8


def test_the_start_is_read_back_and_not_computed_again(toy, encoder, tmp_path, monkeypatch):
    ending, out = end_at(5, interrupt), tmp_path / "out"
    interrupted(monkeypatch, EmotionTrainer, "training_step", ending, RECIPES["full"], toy, encoder(), out)
    start = tmp_path / "out" / "checkpoints" / "start.safetensors"
    assert start.is_file()
    monkeypatch.setattr(run_module, "pooled_states", interrupt)
    resumed = run(RECIPES["full"], toy, encoder(), tmp_path / "out", resume=True)
    assert resumed.run["head"]["start"] == "logistic regression"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["head"] == resumed.run["head"]
