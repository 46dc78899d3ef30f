import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hf_ser.audio.augment import Augmentation
from hf_ser.cache import CacheFolder, Share
from hf_ser.dataset.source import open_source
from hf_ser.training.items import ClipItems, LengthGroupedEpochs, store_samples

ALWAYS = Augmentation(pitch_shift_probability=1.0, time_stretch_probability=1.0, noise_probability=1.0)


@pytest.fixture(scope="module")
def rows(toy):
    return open_source(toy).parts["train"]


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


def test_batches_are_of_like_lengths_and_every_item_comes_once():
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(10.5, 0.4, size=1003).astype(int).tolist()
    sampler = LengthGroupedEpochs(lengths, 16, seed=1)

    def waste(order):
        batches = [order[k : k + 16] for k in range(0, len(order), 16)]
        padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
        return 1 - sum(lengths) / padded

    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {key[0] for key in keys} == {epoch}
        orders.append([key[1] for key in keys])
        assert sorted(orders[-1]) == list(range(len(lengths)))
        assert waste(orders[-1]) < 0.05
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert waste(np.random.default_rng(0).permutation(len(lengths)).tolist()) > 0.3
