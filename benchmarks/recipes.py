"""The paper's settings, the recipes of this library, and a frozen probe, side by side on the same speakers.

    python benchmarks/recipes.py --model ../shared/encoders/hubert-tiny --dataset ../shared/corpora --output-dir runs

Each run is trained by `hf_ser.benchmark`, which goes on where it stopped; the table is that of `hf_ser.compare`, with
guessing and eGeMAPS functionals with a linear SVM from the suite's section `baselines` below it. `--epochs` shortens
the recipes that train the encoder, ours and the paper's alike: on a processor an epoch takes a quarter of an hour.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from machine import describe

from hf_ser import benchmark, compare, evaluate, recipe
from hf_ser.models.recipes import PAPER_RECIPES, RECIPES, paper_recipe


def rows(epochs, names):
    """The recipes by name: the paper's three settings as `paper_NAME`, and ours."""
    found = []
    for name in names:
        paper = name.startswith("paper_")
        made = dataclasses.replace(paper_recipe(name.removeprefix("paper_")), name=name) if paper else recipe(name)
        found.append(made if made.encoder_is_frozen else recipe(made, epochs=epochs))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--output-dir", required=True, type=Path)
    parser.add_argument("--protocol", default="speaker_independent", help="or leave_one_out, folds")
    parser.add_argument("--recipes", default=",".join([*(f"paper_{name}" for name in PAPER_RECIPES), *RECIPES]))
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seeds", default="42")
    options = parser.parse_args()
    chosen = rows(options.epochs, options.recipes.split(","))
    seeds = [int(seed) for seed in options.seeds.split(",")]
    folder = options.output_dir / options.protocol
    found = benchmark(
        options.model, options.dataset, output_dir=folder, protocol=options.protocol, recipes=chosen, seeds=seeds
    )
    print(found.render())
    if options.protocol == "speaker_independent":
        runs = [folder / it.name / f"{options.protocol}-{seed}" for it in chosen for seed in seeds]
        print(compare(*runs).render())
        judged = evaluate(runs[0], options.dataset, suite="baselines")
        print(json.dumps(judged.suite["sections"]["baselines"]["rows"], indent=1))
    print(describe())


if __name__ == "__main__":
    main()
