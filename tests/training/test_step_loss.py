"""Each clip of a step counts the same in its loss, however the step is dealt out, and a stand-in counts nothing."""

import pytest
import torch

from hf_ser import training_arguments
from hf_ser.models.recipes import recipe
from hf_ser.training.trainer import EmotionTrainer


class Head(torch.nn.Module):
    accepts_loss_kwargs = False

    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"model_type": "hubert"})()
        self.classifier = torch.nn.Linear(4, 3)

    def forward(self, features, labels=None):
        return {"logits": self.classifier(features)}


@pytest.fixture
def trainer(tmp_path):
    torch.manual_seed(0)
    arguments = training_arguments("full", tmp_path, use_cpu=True, eval_strategy="no", save_strategy="no")
    made = EmotionTrainer(recipe=recipe("full"), model=Head(), args=arguments)
    # What the training loop sets.
    made.current_gradient_accumulation_steps = 1
    return made


def batch(rows):
    generator = torch.Generator().manual_seed(1)
    features, labels = torch.randn(6, 4, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])
    return {"features": features[rows], "labels": labels[rows]}


def test_batches_of_any_sizes_sum_to_the_mean_over_the_step(trainer):
    whole = trainer.compute_loss(trainer.model, batch(slice(0, 6)), num_items_in_batch=torch.tensor(6.0))
    trainer.current_gradient_accumulation_steps = 2
    parts = [
        trainer.compute_loss(trainer.model, batch(rows), num_items_in_batch=torch.tensor(6.0)) / 2
        for rows in (slice(0, 1), slice(1, 6))
    ]
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), abs=1e-6)


def test_a_stand_in_counts_nothing(trainer):
    stand_in = {**batch(slice(0, 1)), "counts": torch.zeros(1), "items": torch.tensor([-1])}
    assert trainer.compute_loss(trainer.model, stand_in, num_items_in_batch=torch.tensor(5.0)) == 0
    real = {**batch(slice(1, 6)), "counts": torch.ones(5), "items": torch.arange(5)}
    _, clips = trainer.get_batch_samples(iter([stand_in, real]), 2, torch.device("cpu"))
    assert clips == 5
