"""The order of the clips, and what a batch holds."""

import numpy as np
import pytest
import torch

from hf_ser import Augmentation
from hf_ser.inference.states import FrozenStates
from hf_ser.training.batches import Collators, LengthGroupedOrder, TrainingClips, balanced_weights, label_shares

LENGTHS = np.random.default_rng(0).lognormal(10.5, 0.4, size=1003).astype(int)


def order(batch_size=16, *, epoch=0.0, seed=1, lengths=LENGTHS, **options):
    return list(LengthGroupedOrder(lengths, batch_size, seed=seed, epoch=lambda: epoch, **options))


def padding_share(lengths, batches):
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / padded


def batches_of(indices, size):
    return [indices[begin : begin + size] for begin in range(0, len(indices), size)]


def test_every_item_comes_once_and_little_is_padding():
    for epoch in (0, 1):
        keys = order(epoch=epoch)
        assert {key[0] for key in keys} == {epoch}
        indices = [index for _, index in keys]
        assert sorted(indices) == list(range(len(LENGTHS)))
        assert padding_share(LENGTHS, batches_of(indices, 16)) < 0.12
    many = np.random.default_rng(0).lognormal(10.5, 0.4, size=8003).astype(int)
    assert padding_share(many, batches_of([index for _, index in order(lengths=many)], 16)) < 0.04
    random = batches_of(np.random.default_rng(0).permutation(len(LENGTHS)), 16)
    assert padding_share(LENGTHS, random) > 0.3


def test_seed_and_epoch_alone_fix_the_order():
    torch.manual_seed(0)
    first = order(epoch=3.0)
    torch.manual_seed(5)
    assert order(epoch=3.0) == first
    # A run that is resumed within an epoch, whose fraction is rounded.
    assert order(epoch=3.4) == first
    assert order(epoch=2.9999999) == first
    indices = [index for _, index in first]
    assert [index for _, index in order(epoch=4.0)] != indices
    assert [index for _, index in order(epoch=3.0, seed=2)] != indices


def test_the_longest_comes_first_and_then_length_does_not_follow_the_step():
    indices = [index for _, index in order()]
    assert LENGTHS[indices[:16]].max() == LENGTHS.max()
    means = [LENGTHS[batch].mean() for batch in batches_of(indices, 16)[:-1]]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


@pytest.mark.parametrize(("count", "processes", "accumulation"), [(31, 2, 1), (31, 2, 4), (5, 3, 2), (32, 2, 2)])
def test_processes_share_the_steps_of_one(count, processes, accumulation):
    lengths = LENGTHS[:count]
    shared = order(2, lengths=lengths, processes=processes, accumulation=accumulation)
    alone = order(2 * processes * accumulation, lengths=lengths)
    assert shared[:count] == alone
    # What fills the last step up weighs nothing: its index is negative.
    assert all(index < 0 for _, index in shared[count:])
    assert len(shared) % (2 * processes) == 0
    assert len(shared) == len(LengthGroupedOrder(lengths, 2, processes=processes, seed=1, epoch=float))
    assert all(index >= 0 for _, index in alone)


class Clips:
    lengths = (3, 2)

    def __len__(self):
        return 2

    def __getitem__(self, key):
        epoch, index = key
        return {"samples": np.full(self.lengths[index], epoch, np.float32), "labels": 5 + index, "training": True}


def test_a_filling_item_has_no_label():
    clips = TrainingClips(Clips())
    assert clips[4, 1]["labels"] == 6
    filling = clips[4, ~1]
    assert filling["labels"] == -100
    assert filling["samples"].tolist() == [4, 4]


def test_frozen_states_come_as_one_batch_and_are_encoded_once_per_view():
    asked = []

    def states(view):
        asked.append(view)
        return np.arange(6, dtype=np.float32).reshape(3, 2) + 10 * (view or 0)

    plain = FrozenStates(states, [4, 5, 6], None)
    batch = plain.__getitems__([(0, 2), (0, ~0)])
    assert batch["states"].tolist() == [[4, 5], [0, 1]]
    assert batch["labels"].tolist() == [6, -100]
    plain.__getitems__([1])
    assert asked == [None]
    asked.clear()
    two_views = FrozenStates(states, [4, 5, 6], Augmentation(views=2))
    for epoch in range(4):
        assert two_views.__getitems__([(epoch, 0)])["states"].tolist() == [[10 * (epoch % 2), 10 * (epoch % 2) + 1]]
    assert asked == [0, 1]
    asked.clear()
    new_each_epoch = FrozenStates(states, [4, 5, 6], Augmentation())
    for epoch in (0, 0, 1, 2):
        new_each_epoch.__getitems__([(epoch, 0)])
    assert asked == [0, 1, 2]


def test_the_items_choose_their_collator():
    collate = Collators(lambda items: {"mode": "training"}, lambda items: {"mode": "evaluation"})
    assert collate([{"training": True}]) == {"mode": "training"}
    assert collate([{"training": False}]) == {"mode": "evaluation"}
    assert collate({"states": 1}) == {"states": 1}


def test_a_balanced_loss_weighs_labels_not_clips():
    labels = torch.tensor([0] * 30 + [1] * 10)
    weights = balanced_weights(label_shares(labels, 3))
    losses = torch.where(labels == 0, 1.0, 5.0)
    assert (weights[labels] * losses).mean() == pytest.approx(3.0)
    assert weights[2] == 0
