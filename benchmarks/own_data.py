"""A model for somebody's own recordings: trained on them alone, with the four corpora, and judged by a model of these.

python benchmarks/own_data.py --model ENCODER --corpora FOLDER --own DATA --output-dir DIR

Each figure is over all speakers of the own data: those of each fold are tested by a model that did not hear them, and
the predictions of the five folds are pooled, with a bootstrap over the speakers.
"""

import argparse
import sys
import time
from pathlib import Path

import pandas
from machine import describe

from hf_ser import evaluate, finetune, load
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.text import percent, percent_range

FOLDS = [f"fold_{k}" for k in range(5)]


def pooled(tables: list[pandas.DataFrame], name: str) -> dict:
    """Return the figures of one data set over the predictions of all folds."""
    table = pandas.concat(tables, ignore_index=True)
    table = table[table["corpus"] == name]
    labels = [it for it in table.columns if it not in ("clip_id", "corpus", "speaker", "emotion", "predicted")]
    references = [labels.index(it) for it in table["emotion"]]
    scores = table[labels].fillna(0.0).to_numpy()
    return evaluate_scores(scores, references, labels, table["corpus"], table["speaker"], seed=42)["pooled"]


def line(title: str, measured: dict, seconds: float) -> str:
    """Return a row of the table."""
    bounds = measured["intervals"]["uar"]
    shown = f"{percent(measured['uar'])}" + (f" ({percent_range(bounds)})" if bounds else "")
    labels = sum(it["support"] > 0 for it in measured["per_class"].values())
    accuracy = percent(measured["accuracy"])
    counts = f"{labels} | {measured['clips']:,} | {measured['speakers']}"
    return f"| {title} | {counts} | {shown} | {accuracy} | {seconds:,.0f} s |\n"


def main() -> None:
    """Train, judge, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--model", "--corpora", "--own", "--output-dir"):
        parser.add_argument(option, required=True)
    parser.add_argument("--recipe", default="lora_classifier")
    options = parser.parse_args()
    out, name = Path(options.output_dir), Path(options.own).name
    sys.stdout.write(f"{describe()}\n\n| trained on | labels | clips | speakers | UAR % | accuracy % | time |\n")
    sys.stdout.write("|---|---:|---:|---:|---:|---:|---:|\n")
    for title, data in (("it alone", options.own), ("it and the four corpora", [options.corpora, options.own])):
        begin, tables = time.perf_counter(), []
        for fold in FOLDS:
            folder = out / f"{title.replace(' ', '-')}-{fold}"
            run = finetune(options.model, data, output_dir=folder, recipe=options.recipe, protocol=fold)
            tables.append(run.predictions)
        sys.stdout.write(line(title, pooled(tables, name), time.perf_counter() - begin))
        sys.stdout.flush()
    begin = time.perf_counter()
    finetune(options.model, options.corpora, output_dir=out / "corpora", recipe=options.recipe)
    judged = evaluate(load(out / "corpora"), options.own, part="all")
    sys.stdout.write(line("the four corpora", judged.metrics, time.perf_counter() - begin))
    sys.stdout.write(f"\n{judged.facts['clips_with_other_labels']} clips of other labels left out of the last row\n")


if __name__ == "__main__":
    main()
