"""Runs whose clips arrive while they go on: each once an epoch, none on the disk, the same figures in the end."""

import csv
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hf_ser import Augmentation, finetune, recipe, training_arguments
from hf_ser.dataset.stream import open_stream
from hf_ser.errors import InputError
from hf_ser.training import streaming
from hf_ser.training.streaming import StreamedBatches, StreamedClips


@pytest.fixture(scope="module")
def parquet(toy, tmp_path_factory):
    """Return the toy data set as `push_to_hub` stores it, in small row groups."""
    import soundfile
    from datasets.table import embed_table_storage
    from pyarrow.parquet import write_table

    folder = tmp_path_factory.mktemp("parquet")
    for part, rows in toy.items():
        seconds = [soundfile.info(audio["path"]).duration for audio in rows["audio"]]
        rows = rows.add_column("duration", seconds)
        rows = rows.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
        write_table(rows.data.table, folder / f"{part}-00000-of-00001.parquet", row_group_size=5)
    return folder


def items_of(parquet, part="train", **options):
    source = open_stream(parquet)
    return StreamedClips(
        source.parts[part], source.audio, **{"segment_seconds": 10, "sampling_rate": 16_000, **options}
    )


def items_in(batches):
    return [reading.item for batch in batches for reading in batch]


@pytest.mark.parametrize("window", [0.6, 3000.0])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_every_segment_comes_once_an_epoch_in_as_many_steps_everywhere(parquet, count, window, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW_SECONDS", window)
    items = items_of(parquet, segment_seconds=0.45)
    assert len(items) > 32
    orders = []
    for epoch in (0, 1, 0):
        made = []
        for process in range(count):
            batches = StreamedBatches(items, 4, seed=7, process=process, count=count)
            batches.set_epoch(epoch)
            made.append(list(batches))
            assert len(made[-1]) == len(batches)
        real = [[[r for r in batch if r.item >= 0] for batch in process] for process in made]
        assert sorted(items_in(batch for process in real for batch in process)) == list(range(len(items)))
        for step in zip(*made, strict=True):
            # A process that has none left takes the step with what stands for a segment, and counts nothing.
            assert all(len(batch) == 1 or min(reading.item for reading in batch) >= 0 for batch in step)
            assert any(reading.item >= 0 for batch in step for reading in batch)
        orders.append([items_in(process) for process in made])
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]


def test_evaluation_keeps_the_files_order_and_batches_are_of_like_lengths(parquet, monkeypatch):
    items = items_of(parquet)
    groups = list(items.groups)
    monkeypatch.setattr(streaming, "WINDOW_SECONDS", 3.0)
    windows = [window for window, _ in StreamedBatches(items, 4, seed=None).plan()]
    assert [group for window in windows for group in window] == list(range(len(groups)))
    assert len(windows) > 2
    monkeypatch.setattr(streaming, "WINDOW_SECONDS", 3000.0)
    batches = [[items.lengths[r.item] for r in batch] for batch in StreamedBatches(items, 4, seed=0)]
    assert sum(max(batch) * len(batch) for batch in batches) < 1.05 * sum(map(sum, batches))


def test_no_more_than_two_windows_are_held(parquet, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW_SECONDS", 2.0)
    items, lock, held, most = items_of(parquet), threading.Lock(), Counter(), []
    read = items.read

    def counted(numbers):
        found = read(numbers)
        with lock:
            held.update(list(found))
            most.append(sum(held.values()))
        return found

    monkeypatch.setattr(items, "read", counted)
    for batch in StreamedBatches(items, 4, seed=0):
        with lock:
            held.subtract(int(items.clip_index[reading.item]) for reading in batch)
    assert sum(held.values()) == 0
    assert len(most) == len(items.groups), "each row group is read once"
    # A window is one row group of five clips here, and one of them the last group of two besides; less than a batch
    # of four is over of the window before and waits beside two.
    assert max(most) <= 5 + 7 + 3


def test_what_a_resumed_run_passes_over_is_not_read(parquet, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW_SECONDS", 2.0)
    whole = list(StreamedBatches(items_of(parquet), 4, seed=3))
    items, groups = items_of(parquet), []
    read = items.read
    monkeypatch.setattr(items, "read", lambda numbers: groups.append(len(numbers)) or read(numbers))
    batches = StreamedBatches(items, 4, seed=3)
    batches.unread = 6
    rest = list(batches)
    assert rest[:6] == [[]] * 6
    assert [[reading.item for reading in batch] for batch in rest[6:]] == [[r.item for r in b] for b in whole[6:]]
    assert sum(groups) == sum(len(batch) for batch in whole[6:])
    assert len(next(iter(batches))) == 4, "only the first epoch is passed over"


def test_a_head_may_start_from_a_sample_of_row_groups(parquet):
    items = items_of(parquet, segment_seconds=0.45)
    sample = items.sample(12)
    assert 12 <= len(sample) < len(items)
    assert len(sample.groups) < len(items.groups)
    assert sample[3]["labels"] == sample.labels[3]
    assert items.sample(1000) is items
    assert sorted(items_in(StreamedBatches(sample, 4, seed=None))) == list(range(len(sample)))


def arguments(chosen, folder, **changes):
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    return training_arguments(chosen, folder, **{**settings, **changes})


def scores(folder):
    with (folder / "predictions.csv").open() as stream:
        return {row["clip_id"]: [float(value) for value in list(row.values())[5:]] for row in csv.DictReader(stream)}


def apart(one, other):
    assert set(one) == set(other)
    return max(np.abs(np.array(one[name]) - np.array(other[name])).max() for name in one)


@pytest.mark.parametrize("name", [pytest.param("full", marks=pytest.mark.slow), "lora_classifier"])
def test_the_same_weights_are_measured_the_same_streamed_or_not(name, parquet, encoder, tmp_path):
    """At a learning rate of 0 the head's start decides alone; it and the metrics come out the same."""
    results = {}
    home = Path(os.environ["HF_HOME"])
    before = set(home.rglob("*"))
    for streamed in (True, False):
        chosen = recipe(name, head_dropout=0.0)
        results[streamed] = finetune(
            encoder(), parquet, recipe=chosen, output_dir=tmp_path / str(streamed), cache_features=False,
            segment_seconds=0.45, streaming=streamed,
            args=arguments(chosen, tmp_path, learning_rate=0.0, max_steps=3, dataloader_num_workers=int(streamed)),
        )  # fmt: skip
        if streamed:
            kept = [file for file in set(home.rglob("*")) - before if file.suffix in (".arrow", ".parquet", ".wav")]
    plain, streamed = results[False], results[True]
    assert apart(scores(plain.output_dir), scores(streamed.output_dir)) < 1e-4
    for part in ("validation", "test"):
        for figure in ("confusion", "uar", "accuracy", "f1"):
            assert streamed.metrics[part]["pooled"][figure] == plain.metrics[part]["pooled"][figure]
    for one, other in zip(streamed.run["history"], plain.run["history"], strict=True):
        assert one["uar"] == other["uar"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    assert streamed.run["dataset"]["parts"] == plain.run["dataset"]["parts"]
    # The run that streams comes first: nothing that the other one caches could hide what it writes.
    assert kept == []


@pytest.mark.slow
def test_it_learns_and_neither_workers_nor_a_death_change_the_run(parquet, encoder, tmp_path, monkeypatch):
    from hf_ser.training.streamed_trainer import StreamedTrainer

    monkeypatch.setattr(streaming, "WINDOW_SECONDS", 5.0)
    options = {"recipe": "full", "cache_features": False, "streaming": True, "augmentation": Augmentation()}
    steps = {"eval_strategy": "steps", "eval_steps": 3, "max_steps": 11}

    def run(folder, workers=0, **more):
        made = arguments("full", tmp_path, dataloader_num_workers=workers, **steps)
        return finetune(encoder(), parquet, output_dir=tmp_path / folder, args=made, **options, **more)

    whole = run("whole")
    assert whole.report["uar"] > 0.3
    save, saved = StreamedTrainer._save_checkpoint, []

    def save_then_die(self, *given):
        save(self, *given)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    # Killed after six steps of epochs of four: in the middle of the second.
    monkeypatch.setattr(StreamedTrainer, "_save_checkpoint", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run("killed", workers=1)
    monkeypatch.setattr(StreamedTrainer, "_save_checkpoint", save)
    resumed = run("killed", resume=True)
    assert resumed.run["history"] == whole.run["history"]
    assert scores(resumed.output_dir) == scores(whole.output_dir)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_clip_is_named_in_one_line(workers, parquet, encoder, tmp_path):
    from pyarrow import array
    from pyarrow.parquet import read_table, write_table

    for file in parquet.iterdir():
        table = read_table(file)
        if file.name.startswith("train"):
            audio = table.column("audio").to_pylist()
            audio[7]["bytes"] = b"no audio"
            table = table.set_column(table.column_names.index("audio"), "audio", array(audio))
        write_table(table, tmp_path / file.name, row_group_size=5)
    made = arguments("full", tmp_path, dataloader_num_workers=workers)
    with pytest.raises(InputError, match=r"^toy/0-7: not readable as audio .*$"):
        finetune(encoder(), tmp_path, output_dir=tmp_path / "out", streaming=True, args=made)
    assert not (tmp_path / "out").exists()


FROM_THE_HUB = """
import json, sys
from pathlib import Path
from huggingface_hub.constants import HF_HOME
from hf_ser import finetune, training_arguments

arguments = training_arguments("lora_qkv", "out", max_steps=4, use_cpu=True, disable_tqdm=True)
result = finetune("alice/encoder_of_the_stream", "alice/stream", output_dir="out", args=arguments, streaming=True)
kept = [file for place in (HF_HOME, ".") for file in Path(place).rglob("*") if file.is_file()]
audio = [str(file) for file in kept if b"RIFF" in file.read_bytes() or file.suffix in (".parquet", ".arrow")]
print(json.dumps({"audio": audio, "clips": result.run["dataset"]["clips"], "name": result.run["dataset"]["name"],
                  "local": result.run["dataset"]["local"]}))
"""


@pytest.mark.slow
def test_a_data_set_on_the_hub_leaves_no_audio_on_the_disk(hub, parquet, encoder, tmp_path):
    hub.create_from_folder("alice/stream", parquet, kind="dataset", private=True)
    hub.create_from_folder("alice/encoder_of_the_stream", encoder())
    # The Hub stumbles while clips are read, and the run does not.
    hub.fault(503, method="GET", path="*alice/stream*train*.parquet", skip=3, count=1)
    hub.fault("truncate", method="GET", path="*alice/stream*validation*.parquet", skip=2, count=1)
    answer = json.loads(hub.run(FROM_THE_HUB, cwd=tmp_path, token=hub.token("alice")).strip().splitlines()[-1])
    assert answer == {"audio": [], "clips": 72, "name": "alice/stream", "local": False}
    size = (parquet / "train-00000-of-00001.parquet").stat().st_size
    reads = [record for record in hub.requested("GET", "*alice/stream*.parquet") if record.status in (200, 206)]
    assert reads
    assert all(record.range for record in reads), "no file is fetched whole"
    widths = [int(stop) - int(start) for record in reads for start, stop in [record.range[6:].split("-")]]
    assert max(widths) < size / 3


@pytest.mark.slow
def test_streamed_by_two_processes_from_the_command_line(parquet, encoder, tmp_path):
    """At a learning rate of 0 the figures are those of one process, though each read but half of the clips."""
    chosen = recipe("full")
    one = finetune(
        encoder(), parquet, recipe=chosen, output_dir=tmp_path / "one", streaming=True,
        args=arguments(chosen, tmp_path, learning_rate=0.0, num_train_epochs=1),
    )  # fmt: skip
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "hf_ser", "finetune"]
    words += ["--model", encoder(), "--dataset", parquet, "--output-dir", tmp_path / "two", "--streaming"]
    words += ["--recipe", "full", "--learning_rate", "0", "--num_train_epochs", "1", "--use_cpu", "true"]
    words += ["--per_device_train_batch_size", "4", "--dataloader_num_workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len([line for line in done.stdout.splitlines() if line.startswith('{"pooled"')]) == 1
    assert apart(scores(one.output_dir), scores(tmp_path / "two")) < 1e-4
    run = json.loads((tmp_path / "two" / "run.json").read_text())
    # 32 clips in 7 row groups: 17 and 15 of them make five steps of up to eight, in which each clip counts once.
    assert (run["steps"], one.run["steps"]) == (5, 4)
    assert run["training_loss"] == pytest.approx(one.run["training_loss"], rel=0.1)
    assert run["history"][0]["loss"] == pytest.approx(one.run["history"][0]["loss"], abs=1e-4)
