import multiprocessing
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import hf_ser.cache as module
from hf_ser.cache import ArrayCache, CacheFolder, Share
from hf_ser.errors import InputError


def fill(cache, keys, length=1000):
    with cache.writer() as add:
        for key in keys:
            add(key, np.full((2, length), hash(key) % 100, np.float32), len(key))


def test_arrays_come_back_and_travel_to_other_processes(tmp_path):
    cache = ArrayCache(tmp_path / "a", np.float32, "samples")
    fill(cache, ["x", "yy"])
    again = pickle.loads(pickle.dumps(cache))
    for opened in (cache, again, ArrayCache(tmp_path / "a", np.float32, "samples")):
        array, number = opened.read("yy")
        assert array.shape == opened.shape("yy") == (2, 1000)
        assert (array == hash("yy") % 100).all()
        assert number == 2
        assert "z" not in opened
        with pytest.raises(KeyError):
            opened.read("z")


def test_the_files_are_those_of_datasets(tmp_path):
    from datasets import Dataset

    cache = ArrayCache(tmp_path, np.int16, "scale")
    fill(cache, ["x", "yy"], length=3)
    (file,) = cache.files()
    rows = Dataset.from_file(str(file))
    assert rows.column_names == ["key", "values", "shape", "scale"]
    assert rows[1]["key"] == "yy"
    assert rows[1]["shape"] == [2, 3]


def test_reading_copies_nothing(tmp_path):
    cache = ArrayCache(tmp_path, np.float32, "samples")
    fill(cache, ["x"])
    array, _ = cache.read("x")
    assert not array.flags.owndata
    assert not array.flags.writeable


def write_until_killed(folder, keys, ready):
    cache = ArrayCache(folder, np.float32, "samples")
    with cache.writer() as add:
        for key in keys:
            add(key, np.ones(250_000, np.float32), 0)
        ready.set()
        time.sleep(60)


def test_finished_files_survive_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SHARD_BYTES", 2_000_000)
    monkeypatch.setattr(module, "_BATCH_BYTES", 1_000_000)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    keys = [str(number) for number in range(7)]
    process = context.Process(target=write_until_killed, args=(tmp_path, keys, ready))
    process.start()
    assert ready.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache = ArrayCache(tmp_path, np.float32, "samples")
    assert len(cache) == 6
    assert len(list(tmp_path.glob("*.partial"))) == 1
    fill(cache, [key for key in keys if key not in cache])
    assert len(cache) == 7


def test_an_interruption_keeps_what_was_made(tmp_path):
    cache = ArrayCache(tmp_path, np.float32, "samples")

    def interrupted():
        yield "x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(cache, interrupted())
    assert "x" in ArrayCache(tmp_path, np.float32, "samples")


def test_a_damaged_file_is_made_again(tmp_path, caplog):
    cache = ArrayCache(tmp_path, np.float32, "samples")
    fill(cache, ["x"])
    (file,) = cache.files()
    file.write_bytes(file.read_bytes()[:-3000])
    opened = ArrayCache(tmp_path, np.float32, "samples")
    assert "x" not in opened
    assert "damaged" in caplog.text
    fill(opened, ["x"])
    assert "x" in ArrayCache(tmp_path, np.float32, "samples")


def test_what_was_used_longest_ago_goes_first(tmp_path):
    for age, name in enumerate(("new", "old", "older", "in use")):
        cache = ArrayCache(tmp_path / name, np.float32, "samples")
        fill(cache, [name], length=100_000)
        (file,) = cache.files()
        os.utime(file, (time.time() - 3600 * age,) * 2)
    folder = CacheFolder(tmp_path, gigabytes=0.002)
    ours = folder.open("in use", np.float32, "samples")
    held = ArrayCache(tmp_path / "older", np.float32, "samples")
    array, _ = held.read("older")
    os.utime(next(iter(held.files())), (time.time() - 9 * 3600,) * 2)
    folder.make_room()
    left = {file.parent.name for file in tmp_path.rglob("*.arrow")}
    assert left == {"new", "in use"}
    assert "in use" in ours
    # Who reads a file that goes keeps it.
    assert (array == array[0, 0]).all()


def test_what_does_not_fit_is_said_once_for_all_processes(tmp_path, caplog):
    folder = CacheFolder(tmp_path, gigabytes=0.001)
    assert folder.reserve(600_000, "the first")
    assert not folder.reserve(600_000, "the second")
    assert folder.reserve(400_000, "the third")
    assert "the second need 600 kB" in caplog.text
    assert "--cache-gigabytes" in caplog.text
    with pytest.raises(InputError, match="cache_gigabytes is 0"):
        CacheFolder(tmp_path, gigabytes=0)


def test_a_full_disk_is_named_with_the_way_out(tmp_path, monkeypatch):
    cache = ArrayCache(tmp_path, np.float32, "samples")

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._ShardWriter, "_write", full)
    with pytest.raises(InputError, match=r"No space left on device.*HF_HOME"):
        fill(cache, ["x"])


def test_machines_without_a_common_disk_make_all_of_it():
    here = set()

    def make(part):
        here.update(part)

    work = list(range(7))
    share = Share(index=2, count=4, local_index=0, local_count=1)
    share.fill(lambda: [number for number in work if number not in here], make)
    assert here == set(work)


def test_processes_with_a_common_disk_make_each_thing_once():
    made = []
    turns = [[], [], [], []]
    work = list(range(7))
    # Each thread stands for a process.
    barrier = threading.Barrier(4)

    def process(index):
        share = Share(index=index, count=4, local_index=index, local_count=4, wait=barrier.wait)

        def make(part):
            turns[index].extend(part)
            made.extend(part)

        share.fill(lambda: [number for number in work if number not in made], make)

    threads = [threading.Thread(target=process, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == work
    assert turns[1] == [1, 5]
