"""The loss, the learning rates, and what happens when numbers or memory run out."""

import math

import numpy as np
import pytest
import torch

from hf_ser import InputError, finetune, recipe, training_arguments
from hf_ser.training.trainer import EmotionTrainer


class Head(torch.nn.Module):
    accepts_loss_kwargs = False

    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"model_type": "hubert"})()
        self.projector = torch.nn.Linear(4, 4)
        self.classifier = torch.nn.Linear(4, 3)

    def forward(self, features):
        return {"logits": self.classifier(self.projector(features))}


@pytest.fixture
def trainer(tmp_path):
    torch.manual_seed(0)
    chosen = recipe("full", learning_rate_scale={"head": 0.5}, balance_labels=True)
    arguments = training_arguments(
        chosen, tmp_path, use_cpu=True, disable_tqdm=True, eval_strategy="no", save_strategy="no", learning_rate=1e-3
    )
    return EmotionTrainer(
        recipe=chosen, config=Head().config, lengths=[1], shares=np.array([2 / 3, 1 / 3, 2 / 9]),
        clip_index=torch.zeros(1, dtype=torch.long).numpy(), references=[0], model=Head(), args=arguments,
    )  # fmt: skip


def batch(rows):
    generator = torch.Generator().manual_seed(1)
    features, labels = torch.randn(6, 4, generator=generator), torch.tensor([0, 1, 2, 0, 1, 1])
    return {"features": features[rows], "labels": labels[rows]}


def loss_of(trainer, inputs, clips):
    return trainer.compute_loss(trainer.model, dict(inputs), num_items_in_batch=torch.tensor(clips)).item()


def test_batches_of_any_sizes_sum_to_the_weighted_mean_over_the_clips_of_a_step(trainer):
    logits, labels = trainer.model(batch(slice(0, 6))["features"])["logits"], batch(slice(0, 6))["labels"]
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (torch.tensor([0.5, 1.0, 1.5])[labels] * each).mean().item()
    assert loss_of(trainer, batch(slice(0, 6)), 6.0) == pytest.approx(expected, abs=1e-6)
    parts = [loss_of(trainer, batch(rows), 6.0) for rows in (slice(0, 1), slice(1, 6))]
    assert sum(parts) == pytest.approx(expected, abs=1e-6)


def test_a_filling_item_counts_nothing(trainer):
    filling = {**batch(slice(0, 1)), "labels": torch.tensor([-100])}
    assert loss_of(trainer, filling, 5.0) == 0


def test_each_part_has_its_learning_rate(trainer):
    optimizer = trainer.create_optimizer()
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(5e-4, 0.01), (5e-4, 0.0)}


def train(toy, encoder, out, chosen="lora_classifier", **changes):
    settings = {"num_train_epochs": 3, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    chosen = recipe(chosen)
    return finetune(
        encoder(), toy, recipe=chosen, output_dir=out, args=training_arguments(chosen, out, **{**settings, **changes})
    )


def poisoned(at):
    """Return a loss that is NaN from a step on."""
    original = EmotionTrainer.mean_loss

    def mean_loss(self, *arguments, **options):
        loss = original(self, *arguments, **options)
        return loss * math.nan if self.state.global_step >= at and torch.is_grad_enabled() else loss

    return mean_loss


def test_a_loss_that_is_no_number_ends_the_run_with_its_best_checkpoint(toy, encoder, tmp_path, monkeypatch, caplog):
    until = train(toy, encoder, tmp_path / "until", num_train_epochs=2, lr_scheduler_type="constant")
    monkeypatch.setattr(EmotionTrainer, "mean_loss", poisoned(10))
    result = train(toy, encoder, tmp_path / "out", lr_scheduler_type="constant")
    reason = "the loss or a score was not finite at step 11; the best checkpoint before it is the result"
    assert result.run["stopped"] == reason
    assert reason in caplog.text
    assert result.run["history"] == until.run["history"]
    assert result.metrics == until.metrics


def test_a_loss_that_never_was_a_number_is_one_line(toy, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(EmotionTrainer, "mean_loss", poisoned(1))
    chosen = recipe("lora_classifier", head_start="noise")  # whose first step is no checkpoint
    with pytest.raises(InputError, match=r"not finite at step 2, and there is no checkpoint from before; lower the"):
        train(toy, encoder, tmp_path / "out", chosen, gradient_accumulation_steps=2, num_train_epochs=5)
    assert not (tmp_path / "out").exists()


def test_an_absurd_learning_rate_is_one_line(toy, encoder, tmp_path):
    with pytest.raises(
        InputError, match=r"^the loss or a score was not finite at step \d+, and there is no checkpoint"
    ):
        train(toy, encoder, tmp_path / "out", "full", learning_rate=1e30, warmup_steps=0)
    assert not (tmp_path / "out").exists()


def test_a_validation_score_that_is_no_number_is_not_kept(toy, encoder, tmp_path, monkeypatch):
    original = EmotionTrainer.clip_metrics

    def clip_metrics(self, prediction):
        if self.state.global_step == 8:
            prediction.predictions[0, 0] = math.nan
        return original(self, prediction)

    monkeypatch.setattr(EmotionTrainer, "clip_metrics", clip_metrics)
    result = train(toy, encoder, tmp_path / "out", recipe("lora_classifier", head_start="noise"))
    assert result.run["best"]["step"] == 4
    assert result.run["steps"] == 8
    assert "not finite at step 8" in result.run["stopped"]


def test_a_batch_that_does_not_fit_is_one_line_that_says_what_to_lower(toy, encoder, tmp_path, monkeypatch):
    def full(self, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(EmotionTrainer, "mean_loss", full)
    with pytest.raises(InputError, match=r"step 1: a batch of 8 clips does not fit.*halve per_device_train_batch_size"):
        train(toy, encoder, tmp_path / "out")

    def broken(self, *_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(EmotionTrainer, "mean_loss", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(toy, encoder, tmp_path / "out")


def test_the_batch_size_is_found_where_the_user_asks_for_it(toy, encoder, tmp_path, monkeypatch):
    original, sizes = EmotionTrainer.mean_loss, []

    def limited(self, outputs, labels, **options):
        if torch.is_grad_enabled():
            sizes.append(len(labels))
            if len(labels) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, outputs, labels, **options)

    monkeypatch.setattr(EmotionTrainer, "mean_loss", limited)
    result = train(toy, encoder, tmp_path / "out", auto_find_batch_size=True, num_train_epochs=1)
    assert sizes == [8, *[4] * 8] or set(sizes[-8:]) <= {3, 4}
    assert result.run["steps"] >= 8


@pytest.mark.parametrize("chosen", ["full", "lora_qkv", "lora_classifier"])
def test_gradient_checkpointing_learns_the_same(chosen, toy, encoder, tmp_path):
    runs = [
        train(toy, encoder, tmp_path / str(on), chosen, num_train_epochs=1, gradient_checkpointing=on)
        for on in (False, True)
    ]
    losses = [result.run["history"][0]["loss"] for result in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
