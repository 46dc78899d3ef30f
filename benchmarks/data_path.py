"""Between the files and the step: how much of a batch is padding, and what a clip costs that is decoded once.

    python benchmarks/data_path.py --dataset ../shared/corpora --manifest ../shared/manifest.csv.gz

Seconds are processor seconds of this process, which other work on the machine does not lengthen.
"""

import argparse
import csv
import gzip
import os
import tempfile
import time

import numpy as np
import torch
from machine import describe
from transformers.trainer_pt_utils import LengthGroupedSampler

from hf_ser import open_dataset
from hf_ser.audio.clips import Segments
from hf_ser.text import markdown_table
from hf_ser.training.batches import LengthGroupedOrder


def padding(lengths):
    """Share of padding in an epoch, and of the clips beside a clip that are beside it again in the next epoch."""
    count = len(lengths)

    def random(epoch):
        return np.random.default_rng(epoch).permutation(count)

    def grouped(epoch):
        return list(LengthGroupedSampler(16, lengths=lengths, generator=torch.Generator().manual_seed(epoch)))

    def ours(epoch):
        return [index for _, index in LengthGroupedOrder(lengths, 16, seed=0, epoch=lambda: epoch)]

    rows = []
    for name, order in {"random": random, "`group_by_length` of transformers": grouped, "ours": ours}.items():
        epochs = [[order(epoch)[begin : begin + 16] for begin in range(0, count, 16)] for epoch in range(2)]
        padded = sum(len(batch) * max(lengths[item] for item in batch) for batch in epochs[0])
        beside = [{item: {*map(int, batch)} for batch in batches for item in batch} for batches in epochs]
        again = np.mean([(len(beside[0][i] & beside[1][i]) - 1) / max(1, len(beside[0][i]) - 1) for i in beside[0]])
        rows.append((f"{name}, 16", f"{100 * (1 - sum(lengths) / padded):.1f}", f"{100 * again:.1f}"))
    return markdown_table(("batches", "padding, %", "beside each other again, %"), rows)


def decoding(rows):
    """Milliseconds a clip: to decode and keep it, to read it again, and to decode it in every epoch."""

    def clock(work):
        begin = time.process_time()
        result = work()
        return result, f"{1000 * (time.process_time() - begin) / len(rows):.3f}"

    def opened():
        return Segments(rows, sampling_rate=16_000, segment_seconds=10.0)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_SER_CACHE"] = folder
        kept, first = clock(opened)
        _, read = clock(lambda: [kept[index] for index in range(len(kept))])
        os.environ["HF_SER_CACHE"] = "off"
        segments = opened()
        _, decoded = clock(lambda: [segments[index] for index in range(len(segments))])
    found = [("decoded and kept, once", first), ("an epoch of kept audio", read), ("an epoch decoded anew", decoded)]
    return markdown_table(("audio", "ms a clip"), found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="folder of the corpora, or a Hub id")
    parser.add_argument("--manifest", help="manifest.csv.gz with the lengths of all originals, for the padding")
    parser.add_argument("--clips", type=int, default=320, help="of the decoding")
    options = parser.parse_args()
    rows = open_dataset(options.dataset).parts["train"]
    seconds = rows["duration"]
    if options.manifest:
        with gzip.open(options.manifest, "rt", newline="") as file:
            seconds = [float(row["duration_s"]) for row in csv.DictReader(file)]
    print(f"{describe()}\n\nPadding, {len(seconds):,} real lengths\n")
    print(padding([round(16_000 * each) for each in seconds]))
    chosen = np.unique(np.linspace(0, len(rows) - 1, options.clips).astype(int))
    print(f"\nDecoding, {len(chosen):,} clips\n\n{decoding(rows.select(chosen))}")


if __name__ == "__main__":
    main()
