"""What lies between the files and the step: padding, decoding, waiting, and what frozen parts make once.

    python benchmarks/data_path.py --dataset ../shared/corpora --model ../shared/encoders/hubert-tiny

Prints one table each for padding (all real lengths), decoding, and the input of a step and states that are kept.
Seconds are processor seconds of this process, which other work on the machine does not lengthen.
"""

import argparse
import contextlib
import csv
import gzip
import io
import logging
import os
import platform
import tempfile
import time
from pathlib import Path


def table(title, rows):
    print(f"\n{title}\n")
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "|".join(" --- " if name == names[0] else " ---: " for name in names) + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


class Clock:
    """Processor seconds of this process, and silence on stdout meanwhile: Trainer prints what it measures."""

    def __enter__(self):
        self._quiet = contextlib.redirect_stdout(io.StringIO())
        self._quiet.__enter__()
        self._begin = time.process_time()
        return self

    def __exit__(self, *failure):
        self.seconds = time.process_time() - self._begin
        self._quiet.__exit__(*failure)


def padding(lengths, rate=16_000):
    """Share of padding, and of an item's companions that it meets again in the next epoch."""
    import numpy as np

    from hf_ser.training.batches import LengthBatches, padding_share

    lengths = np.asarray(lengths)
    count = len(lengths)

    def random(epoch):
        order = np.random.default_rng(epoch).permutation(count)
        return [order[begin : begin + 16] for begin in range(0, count, 16)]

    def sorted_once(epoch):
        order = np.argsort(lengths)
        return [order[begin : begin + 16] for begin in range(0, count, 16)]

    def grouped(epoch):
        """`train_sampling_strategy="group_by_length"` of transformers."""
        import torch
        from transformers.trainer_pt_utils import LengthGroupedSampler

        generator = torch.Generator().manual_seed(epoch)
        order = list(LengthGroupedSampler(16, lengths=lengths.tolist(), generator=generator))
        return [order[begin : begin + 16] for begin in range(0, count, 16)]

    def ours(batch_size, **options):
        batches = LengthBatches(lengths, batch_size, seed=0, **options)
        return lambda epoch: [batch for step in batches.plan(epoch) for batch in step]

    orders = {
        "random, 16": random,
        "sorted, 16 (not random)": sorted_once,
        "transformers group_by_length, 16": grouped,
        "ours, 16": ours(16),
        "ours, 16, of 8 processes": ours(16, processes=8),
        "ours, 64": ours(64),
        "ours, 48 s": ours(count, budget=48 * rate),
    }
    rows = []
    for name, order in orders.items():
        epochs = [order(epoch) for epoch in range(2)]
        met = [{item: {*map(int, batch)} for batch in batches for item in batch} for batches in epochs]
        again = np.mean([(len(met[0][i] & met[1][i]) - 1) / max(1, len(met[0][i]) - 1) for i in met[0]])
        rows.append({
            "batches": name,
            "padding, %": f"{100 * padding_share(lengths, epochs[0]):.1f}",
            "companions met again, %": f"{100 * again:.1f}",
            "in a batch": f"{min(map(len, epochs[0]))} to {max(map(len, epochs[0]))}",
        })  # fmt: skip
    # Every clip padded to the same length, as a fixed max_length does.
    six = 6 * rate
    waste = 1 - np.minimum(lengths, six).sum() / (six * count)
    rows.insert(1, {"batches": "padded to 6 s", "padding, %": f"{100 * waste:.1f}", "companions met again, %": "",
                    "in a batch": ""})  # fmt: skip
    return rows


def decoding(parts, folder):
    import numpy as np

    from hf_ser.audio.decode import decode
    from hf_ser.cache import CacheFolder, Share, readable
    from hf_ser.training.items import ClipItems, store_samples

    rows = parts["train"]
    caches = CacheFolder(folder, 50)
    with Clock() as fill:
        store = store_samples([rows], 16_000, caches, share=Share(), progress=False)
    plain = ClipItems(rows, segment_seconds=10, sampling_rate=16_000)
    kept = ClipItems(rows, segment_seconds=10, sampling_rate=16_000, store=store)
    found = []
    for name, items in (("decoded in every epoch", plain), ("from the store", kept)):
        with Clock() as clock:
            for item in range(len(items)):
                _ = items[item]
        found.append({"an epoch's audio": name, "ms a clip": f"{1000 * clock.seconds / len(items):.3f}"})
    error = max(
        float(np.abs(store.read(row["audio_sha256"]) - samples).max() / np.abs(samples).max())
        for row in rows.select(range(0, len(rows), max(1, len(rows) // 200)))
        if np.any(samples := decode(row["audio"]))
    )
    found.append({"an epoch's audio": "filling the store, once", "ms a clip": f"{1000 * fill.seconds / len(rows):.3f}"})
    print(f"\n{len(rows):,} clips, {readable(store.size())} in the store; largest error 1/{1 / error:,.0f} of the peak"
          if error else "\nno error at all: the clips have 16 bits at the encoder's rate")  # fmt: skip
    return found


def trained(model, parts, folder, recipes, epochs):
    """Train a few epochs with and without the caches."""
    from hf_ser import finetune, recipe, training_arguments
    from hf_ser.cache import readable

    rows = []
    for name, (base, options) in recipes.items():
        chosen = recipe(base, **options)
        for kept in (False, True):
            arguments = training_arguments(
                chosen, folder, num_train_epochs=epochs, per_device_train_batch_size=16, per_device_eval_batch_size=16,
                use_cpu=True, disable_tqdm=True, logging_strategy="no",
            )  # fmt: skip
            with Clock() as clock:
                result = finetune(model, parts, recipe=chosen, args=arguments, output_dir=folder / f"{name}-{kept}",
                                  cache_features=kept, cache_audio=kept)  # fmt: skip
            run = result.run
            frozen = run["model"].get("frozen_part", {})
            rows.append({
                "recipe": name,
                "kept": "yes" if frozen.get("kept") or kept else "no",
                "frozen part": frozen.get("stage", "none"),
                "largest difference of logits": f"{frozen['largest_difference']:.0e}" if frozen else "",
                "on disk": readable(frozen["cache_bytes"]) if frozen.get("cache_bytes") else "",
                "training, s of wall time": f"{run['seconds']['training']:.1f}",
                "whole run, processor s": f"{clock.seconds:.0f}",
                "input's share of a step, %": f"{100 * run['input_wait_share']:.2f}",
                "padding, %": f"{100 * run['padding_share']:.1f}" if "padding_share" in run else "",
            })  # fmt: skip
    return rows


RECIPES = {
    "lora_classifier": ("lora_classifier", {}),
    "lora_qkv": ("lora_qkv", {}),
    "lora_qkv, upper 2 layers": ("lora_qkv", {"trained_layers": 2}),
    "full, frozen convolutions": ("full", {"freeze_feature_encoder": True}),
    "full": ("full", {}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="folder of the corpora, or a Hub id")
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", help="manifest.csv.gz with the lengths of all originals, for the padding")
    parser.add_argument(
        "--clips", type=int, default=320, help="training clips; a fifth as many in the other parts; 0: all"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--home", help="keep the caches here; a temporary folder by default")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="data_path-"))
    os.environ["HF_HOME"] = options.home or str(folder / "home")
    logging.getLogger("hf_ser").setLevel(logging.ERROR)
    import numpy as np
    from datasets import DatasetDict, disable_progress_bars

    from hf_ser.dataset.source import open_dataset
    from hf_ser.training.records import versions

    disable_progress_bars()
    parts = open_dataset(options.dataset).parts
    if options.manifest:
        with gzip.open(options.manifest, "rt", newline="") as file:
            seconds = [float(row["duration_s"]) for row in csv.DictReader(file)]
    else:
        seconds = parts["train"]["duration"]
    few = DatasetDict()
    for part, rows in parts.items():
        wanted = options.clips if part == "train" else options.clips // 5
        places = np.linspace(0, len(rows) - 1, wanted or len(rows)).astype(int)
        few[part] = rows.select(sorted({*places.tolist()}))
    known = versions()
    print(f"{os.cpu_count()} x {platform.machine()}, {Path(options.model).name}, {len(few['train']):,} training clips; "
          + ", ".join(f"{name} {known[name]}" for name in ("torch", "transformers", "datasets", "python")))  # fmt: skip
    table(f"Padding, {len(seconds):,} real lengths", padding([round(16_000 * each) for each in seconds]))
    table("Decoding", decoding(few, folder / "decoding"))
    table(
        f"{options.epochs} epochs in batches of 16",
        trained(options.model, few, folder, RECIPES, options.epochs),
    )


if __name__ == "__main__":
    main()
