from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hf_ser.audio.augment import Augmentation
from hf_ser.cache import CacheFolder, Share
from hf_ser.dataset.source import open_dataset
from hf_ser.training.items import ClipItems, store_samples

ALWAYS = Augmentation(pitch_shift_probability=1.0, time_stretch_probability=1.0, noise_probability=1.0)


@pytest.fixture(scope="module")
def rows(toy):
    return open_dataset(toy).parts["train"]


def test_the_parts_of_an_opened_data_set_are_a_data_set(toy):
    from datasets import DatasetDict

    opened = open_dataset(toy)
    assert open_dataset(DatasetDict(opened.parts)).fingerprint == opened.fingerprint


def first(batch):
    return batch[0]


def read(items, keys, workers):
    class Keys(torch.utils.data.Sampler):
        def __iter__(self):
            return iter(keys)

        def __len__(self):
            return len(keys)

    loader = DataLoader(
        items, sampler=Keys(), batch_size=1, num_workers=workers, collate_fn=first, persistent_workers=workers > 0
    )
    return [item["samples"] for item in loader]


@pytest.fixture(scope="module")
def stored(rows, tmp_path_factory):
    folder = CacheFolder(tmp_path_factory.mktemp("cache"), 1)
    return store_samples([rows], 16_000, folder, share=Share(), progress=False)


@pytest.mark.parametrize("segment_seconds", [10, 0.2])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_store_holds_what_decoding_gives(rows, stored, segment_seconds, workers):
    """The toy clips have 16 bits at 16 kHz, so nothing at all is lost."""
    decoded = ClipItems(rows, segment_seconds=segment_seconds, sampling_rate=16_000, augmentation=ALWAYS)
    read_back = ClipItems(
        rows.remove_columns("audio"),
        segment_seconds=segment_seconds,
        sampling_rate=16_000,
        augmentation=ALWAYS,
        store=stored,
    )
    keys = [0, len(decoded) - 1, (1, 3)]
    for one, other in zip(read(decoded, keys, 0), read(read_back, keys, workers), strict=True):
        assert np.array_equal(one, other)


def test_clips_beyond_the_limit_are_decoded_when_they_are_read(rows, tmp_path):
    assert store_samples([rows], 16_000, CacheFolder(tmp_path, 1e-6), share=Share(), progress=False) is None
    assert not list(tmp_path.iterdir())


def test_augmentation_depends_on_seed_epoch_and_clip_alone(rows):
    items = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, augmentation=ALWAYS, seed=5)
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0)]
    alone = read(items, keys, workers=0)
    by_workers = read(items, list(reversed(keys)), workers=2)[::-1]
    for one, other in zip(alone, by_workers, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(alone[0], alone[4])
    assert not np.array_equal(alone[0][:1000], alone[2][:1000])
    other_seed = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, augmentation=ALWAYS, seed=6)
    assert not np.array_equal(other_seed[(0, 0)]["samples"][:1000], alone[0][:1000])


def test_evaluation_is_never_augmented(rows):
    augmented = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, augmentation=ALWAYS, seed=5)
    plain = ClipItems(rows, segment_seconds=10, sampling_rate=16_000)
    assert np.array_equal(augmented[0]["samples"], plain[0]["samples"])


def test_long_clips_become_segments_of_one_length(rows):
    items = ClipItems(rows, segment_seconds=0.2, sampling_rate=16_000)
    assert len(items) > len(rows)
    assert {len(items[index]["samples"]) for index in range(len(items))} == {3200}
    assert set(items.clip_index) == set(range(len(rows)))
    assert all(items.labels[k] == rows[int(items.clip_index[k])]["emotion"] for k in range(len(items)))


def test_items_come_longest_first_and_keep_their_labels(rows):
    items = ClipItems(rows, segment_seconds=10, sampling_rate=16_000)
    assert items.lengths == sorted(items.lengths, reverse=True)
    assert [len(items[k]["samples"]) for k in range(len(items))] == items.lengths


def test_the_lengths_of_an_epoch_are_those_of_its_audio(rows):
    items = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, augmentation=ALWAYS, seed=5)
    for epoch in (0, 1):
        heard = [len(items[epoch, item]["samples"]) for item in range(8)]
        assert np.abs(items.epoch_lengths(epoch)[:8] / heard - 1).max() < 0.01
        assert (items.epoch_lengths(epoch) <= items.longest_lengths).all()
    assert not np.array_equal(items.epoch_lengths(0), items.epoch_lengths(1))


def test_views_come_round(rows):
    two = replace(ALWAYS, views=2)
    items = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, augmentation=two, seed=5)
    heard = [items[epoch, 3]["samples"] for epoch in range(4)]
    assert np.array_equal(heard[0], heard[2])
    assert np.array_equal(heard[1], heard[3])
    assert not np.array_equal(heard[0][:1000], heard[1][:1000])
    assert np.array_equal(items.epoch_lengths(0), items.epoch_lengths(2))
