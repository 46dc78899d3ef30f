import csv
import gzip

import numpy as np
import pytest

from hf_ser.errors import InputError
from hf_ser.training.batches import LengthBatches, padding_share

LENGTHS = np.random.default_rng(0).lognormal(10.5, 0.4, size=1003).astype(int)


def flat(plan):
    return [batch for step in plan for batch in step]


@pytest.mark.parametrize("budget", [None, 900_000])
@pytest.mark.parametrize("processes", [1, 3])
def test_every_item_comes_once_and_next_to_nothing_is_padding(budget, processes):
    lengths = np.random.default_rng(0).lognormal(10.5, 0.4, size=5003).astype(int)
    batches = LengthBatches(lengths, 16, seed=1, budget=budget, processes=processes)
    for epoch in range(3):
        plan = batches.plan(epoch)
        assert len(plan) == len(batches)
        assert sorted(item for batch in flat(plan) for item in batch) == list(range(len(lengths)))
        assert padding_share(lengths, flat(plan)) < 0.03
        assert all(len(step) == processes for step in plan)
        assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in plan)
    random = np.array_split(np.random.default_rng(0).permutation(len(lengths)), len(lengths) // 16)
    assert padding_share(lengths, random) > 0.3


@pytest.mark.parametrize("budget", [None, 900_000])
def test_the_processes_share_one_plan(budget):
    seen = []
    for process in range(3):
        batches = LengthBatches(LENGTHS, 16, seed=1, budget=budget, process=process, processes=3)
        batches.set_epoch(5)
        seen.append(list(batches))
        assert len(seen[-1]) == len(batches)
    assert {epoch for batches in seen for batch in batches for epoch, _ in batch} == {5}
    together = [[[item for _, item in batch] for batch in step] for step in zip(*seen, strict=True)]
    assert together == LengthBatches(LENGTHS, 16, seed=1, budget=budget, processes=3).plan(5)
    # No process waits for another's longer clips.
    longest = np.array([[LENGTHS[batch].max() * len(batch) for batch in step] for step in together])
    assert (longest.min(axis=1) / longest.max(axis=1)).mean() > 0.95


def test_seed_and_epoch_alone_fix_the_order():
    first = LengthBatches(LENGTHS, 16, seed=1)
    again = LengthBatches(LENGTHS, 16, seed=1)
    list(first)
    assert first.plan(3) == again.plan(3)
    assert first.plan(3) != first.plan(4)
    assert first.plan(3) != LengthBatches(LENGTHS, 16, seed=2).plan(3)


def test_the_order_is_random():
    """Companions change from epoch to epoch, and neither position nor neighbour tells a batch's length."""
    batches = LengthBatches(LENGTHS, 16, seed=1)
    companions = []
    for epoch in range(2):
        plan = flat(batches.plan(epoch))
        companions.append({item: set(batch) - {item} for batch in plan for item in batch})
        means = np.array([LENGTHS[batch].mean() for batch in plan])
        assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3
        assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3
    again = np.mean([len(companions[0][item] & companions[1][item]) / 15 for item in range(len(LENGTHS))])
    # With 1,003 clips; a fixed sort would give 1, and all clips of the four corpora give 0.03.
    assert again < 0.5


def test_equal_lengths_are_shuffled_freely():
    batches = LengthBatches([5] * 600, 10, seed=0)
    companions = [{item: set(batch) - {item} for batch in flat(batches.plan(e)) for item in batch} for e in range(2)]
    again = np.mean([len(companions[0][item] & companions[1][item]) / 9 for item in range(600)])
    assert again < 0.05


@pytest.mark.parametrize("processes", [1, 2])
def test_no_batch_is_over_its_budget(processes):
    budget = 400_000
    longest = LENGTHS * 2
    stretched = lambda epoch: (LENGTHS * np.random.default_rng(epoch).uniform(1, 2, len(LENGTHS))).astype(int)  # noqa: E731
    for lengths, bound in ((LENGTHS, None), (stretched, longest)):
        batches = LengthBatches(lengths, 10_000, seed=0, budget=budget, longest=bound, processes=processes)
        for epoch in range(3):
            now = LENGTHS if bound is None else stretched(epoch)
            for batch in flat(batches.plan(epoch)):
                assert len(batch) == 1 or now[batch].max() * len(batch) <= budget


def test_a_budget_is_used():
    batches = LengthBatches(LENGTHS, 10_000, seed=0, budget=1_600_000)
    held = [LENGTHS[batch].max() * len(batch) for batch in flat(batches.plan(0))]
    assert np.mean(held) > 0.88 * 1_600_000


def test_clips_are_spread_evenly_over_the_steps():
    assert LengthBatches([1] * 33, 16, seed=0).items == [11, 11, 11]
    assert LengthBatches([1] * 32, 16, seed=0).items == [16, 16]
    assert LengthBatches([1] * 33, 8, seed=0, processes=2).items == [11, 11, 11]


def test_a_process_without_a_clip_of_its_own_hears_another_again():
    plan = LengthBatches([1, 2], 4, seed=0, processes=3).plan(0)
    assert [len(batch) for batch in plan[0]] == [1, 1, 1]
    assert {item for batch in plan[0] for item in batch} == {0, 1}


def test_nothing_to_make_batches_of():
    with pytest.raises(InputError, match="no clips"):
        LengthBatches([], 4, seed=0)
    with pytest.raises(InputError, match="a batch of 0 clips"):
        LengthBatches([1], 0, seed=0)


@pytest.mark.parametrize("budget", [None, 16_000 * 48])
def test_the_real_lengths_waste_two_parts_in_a_hundred(shared, budget):
    with gzip.open(shared / "manifest.csv.gz", "rt", newline="") as file:
        lengths = np.array([round(float(row["duration_s"]) * 16_000) for row in csv.DictReader(file)])
    batches = LengthBatches(lengths, 16, seed=0, budget=budget)
    plan = flat(batches.plan(0))
    assert padding_share(lengths, plan) < 0.022
    companions = [{item: set(batch) for batch in flat(batches.plan(epoch)) for item in batch} for epoch in range(2)]
    again = np.mean([(len(companions[0][item] & companions[1][item]) - 1) / 15 for item in range(len(lengths))])
    assert again < 0.05


def test_neither_processes_nor_accumulation_change_what_makes_up_a_step():
    lengths = np.random.default_rng(0).integers(4_000, 12_000, 61)

    def steps(batch_size, processes, accumulation):
        made = []
        for process in range(processes):
            batches = LengthBatches(
                lengths, batch_size, 3, process=process, processes=processes, accumulation=accumulation
            )
            found = [[item for _, item in batch] for batch in batches]
            assert len(found) == len(batches)
            parts = [found[k : k + accumulation] for k in range(0, len(found), accumulation)]
            made.append([[item for batch in part for item in batch] for part in parts])
        return [sorted(item for part in step for item in part) for step in zip(*made, strict=True)]

    whole = steps(8, 1, 1)
    assert sorted(item for step in whole for item in step) == list(range(61))
    assert steps(2, 2, 2) == steps(4, 1, 2) == steps(4, 2, 1) == whole
    # More to accumulate than an epoch has: one step, of every item once.
    assert steps(8, 1, 100) == steps(4, 2, 100) == [list(range(61))]
