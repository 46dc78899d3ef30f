"""How long the full suite takes for one checkpoint and 1,500 test clips, from opening the data to the report.

HF_SER_CACHE=$(mktemp -d) python benchmarks/suite_time.py --model runs/lora_classifier --dataset ../shared/corpora

The clips are drawn by label and corpus in proportion; an empty cache makes it a first run.
"""

import argparse
import dataclasses
import time

from machine import describe
from sklearn.model_selection import train_test_split

from hf_ser import evaluate, open_dataset

CLIPS = 1500


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--output-dir", default="suites/time")
    options = parser.parse_args()
    machine, start = describe(), time.perf_counter()
    source = open_dataset(options.dataset)
    rows = source.parts["test"]
    groups = [f"{corpus} {emotion}" for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True)]
    chosen, _ = train_test_split(range(len(rows)), train_size=CLIPS, stratify=groups, random_state=0)
    source = dataclasses.replace(source, parts={**source.parts, "test": rows.select(sorted(chosen))})
    evaluation = evaluate(options.model, source, suite="full")
    evaluation.save(options.output_dir)
    print(f"{time.perf_counter() - start:.0f} s in all; by section {evaluation.suite['seconds']}")
    print(machine)


if __name__ == "__main__":
    main()
