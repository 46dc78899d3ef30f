"""The search for the defaults of the recipes, on validation speakers alone.

    python benchmarks/search.py --model ../shared/encoders/hubert-tiny --dataset ../shared/corpora \
        --output-dir runs/search

Each trial changes one thing of a recipe; `--trials` takes a regular expression. The test part is replaced by the
validation part, so that nothing of it is read. A line for each trial goes to `search.jsonl` in the folder: what was
changed, the validation UAR after each epoch, and the mean over the last three, by which trials are compared: the best
epoch alone favours what varies most. Trials that are finished are read.
"""

import argparse
import dataclasses
import functools
import json
import re
from pathlib import Path

from machine import describe
from runs import opened, side_by_side, trained

from hf_ser import Augmentation, recipe

ALL = {"layers": "all", "balance_labels": True}
DROPOUT = {"encoder_settings": {"hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1}}
FULL = {**ALL, "learning_rate_scale": {"encoder": 1.0, "feature_projection": 0.1, "feature_encoder": 0.1}}

TRIALS = {
    "lora/last": ("lora_qkv", {"layers": "last", "balance_labels": False}),
    "lora/last balanced": ("lora_qkv", {"layers": "last"}),
    "lora/best": ("lora_qkv", {**ALL, "layers": "best"}),
    "lora/all": ("lora_qkv", ALL),
    "lora/all rate 1e-3": ("lora_qkv", {**ALL, "learning_rate": 1e-3}),
    "lora/all rate 2e-3": ("lora_qkv", {**ALL, "learning_rate": 2e-3, "learning_rate_scale": {"head": 0.05}}),
    "lora_all/5e-4": ("lora_all", ALL),
    "lora_all/1e-3": ("lora_all", {**ALL, "learning_rate": 1e-3}),
    "lora_all/2e-3": ("lora_all", {**ALL, "learning_rate": 2e-3, "learning_rate_scale": {"head": 0.05}}),
    "full/last": ("full", {"balance_labels": False}),
    "full/last balanced": ("full", {}),
    "full/all encoder 2e-5": ("full", ALL),
    "full/all encoder 5e-6": ("full", {**FULL, "learning_rate": 5e-6, "learning_rate_scale": {"head": 20.0}}),
    "full/all encoder 5e-5": ("full", {**FULL, "learning_rate": 5e-5}),
    "full/all encoder 1e-4": ("full", FULL),
    "full/all encoder 2e-4": ("full", {**FULL, "learning_rate": 2e-4}),
    "full/all encoder 1e-4 augmentation": ("full", {**FULL, "augmentation": True}),
    "full/all encoder 1e-4 dropout": ("full", {**FULL, **DROPOUT, "head_dropout": 0.2}),
    "full/all encoder 1e-4 mixup": ("full", {**FULL, "mixup": 0.4}),
    "full/all encoder 1e-4 decay 0.7": ("full", {**FULL, "layer_decay": 0.7}),
    "full/all encoder 1e-4 features frozen": ("full", {**FULL, "freeze_feature_encoder": True}),
    "last_layers/3": ("last_layers", {}),
    "lora/all rate 2e-4": ("lora_qkv", {**ALL, "learning_rate": 2e-4}),
    "lora/all rate 1e-3 head 1e-3": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "learning_rate_scale": {"head": 1.0}}),
    "lora/all rate 1e-3 head 1e-5": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "learning_rate_scale": {"head": 0.01}}),
    "lora/all rate 1e-3 dropout": ("lora_qkv", {**ALL, **DROPOUT, "learning_rate": 1e-3, "head_dropout": 0.2}),
    "lora/all rate 1e-3 augmentation": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "augmentation": True}),
    "lora/all rate 1e-3 smoothing": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "label_smoothing": 0.1}),
    "lora/all rate 1e-3 rank 4": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "lora": {"r": 4, "lora_alpha": 8}}),
    "lora/all rate 1e-3 alpha 1": ("lora_qkv", {**ALL, "learning_rate": 1e-3, "lora": {"lora_alpha": 1}}),
}


def attempt(name, model, dataset, folder, epochs, batch_size, arguments):
    """Train one trial; return its line."""
    source = opened(dataset, "speaker_independent")
    source = dataclasses.replace(source, parts={**source.parts, "test": source.parts["validation"]})
    like, fields = TRIALS[name]
    fields = {"epochs": epochs, "batch_size": batch_size, "patience": None, **fields}
    augmentation = Augmentation() if fields.pop("augmentation", False) else None
    target = folder / re.sub(r"\W+", "_", name)
    run = trained(model, source, recipe(like, **fields), target, augmentation=augmentation, **arguments)
    uar = [round(100 * it["uar"], 2) for it in run.run["history"]]
    changes = {"recipe": like, **fields, "augmentation": augmentation is not None}
    seconds = round(run.run["seconds"]["training"])
    return {"trial": name, **changes, "uar": uar, "last": round(sum(uar[-3:]) / len(uar[-3:]), 2), "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--output-dir", required=True, type=Path)
    parser.add_argument("--trials", default="", help="regular expression")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--arguments", type=json.loads, default={}, help="of TrainingArguments, as JSON")
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    print(describe(), flush=True)
    names = [name for name in TRIALS if re.search(options.trials, name)]
    run = functools.partial(
        attempt,
        model=options.model,
        dataset=options.dataset,
        folder=options.output_dir,
        epochs=options.epochs,
        batch_size=options.batch_size,
        arguments=options.arguments,
    )
    lines = []
    for _, line in side_by_side(run, names, options.processes):
        if line is not None:
            lines.append(line)
            with (options.output_dir / "search.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
    for line in sorted(lines, key=lambda it: -it["last"]):
        print(f"{line['last']:6.2f} {max(line['uar']):6.2f} {line['seconds']:5d} s  {line['trial']:40} {line['uar']}")


if __name__ == "__main__":
    main()
