"""The paper's settings, the recipes of this library and simple baselines, side by side on the same speakers.

    python benchmarks/recipes.py --model ../shared/encoders/hubert-tiny --dataset ../shared/corpora --output-dir runs \
        --protocols speaker_independent,leave_one_out,paper --seeds 42,43,44

One table for each encoder and protocol. Finished runs are read, an unfinished one is resumed, so that the command can
be repeated. `paper_NAME` is a recipe in the paper's setting. `--epochs` and `--paper-epochs` shorten recipes that train
the encoder. The seeds after the first are for `speaker_independent`. A difference is that of the UAR to the recipe
`layers`, with its interval over speakers, on the runs of the first seed. `baselines.py` has the baselines, among them
eGeMAPS functionals with a linear SVM, which need opensmile.
"""

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path
from statistics import mean, stdev

from baselines import BASELINES, baseline
from machine import describe
from runs import opened, side_by_side, trained

from hf_ser import compare, recipe
from hf_ser.evaluation.compare import read_result
from hf_ser.models.recipes import PAPER_RECIPES, RECIPES, paper_recipe
from hf_ser.training.arguments import PAPER_ARGUMENTS

CORPORA = ("crema_d", "ravdess", "savee", "tess")
PROBE = "layers"


def train(job, dataset, options):
    """Train one run, or fit one baseline."""
    model, split, name, seed, folder = job
    if name in BASELINES:
        begin = time.perf_counter()
        if not (folder / "metrics.json").is_file():
            baseline(name, model, opened(dataset, split), opened(dataset, "speaker_independent"), folder)
            (folder / "seconds").write_text(f"{time.perf_counter() - begin:.0f}")
        return folder
    paper = name.startswith("paper_")
    made = dataclasses.replace(paper_recipe(name.removeprefix("paper_")), name=name) if paper else recipe(name)
    if not made.encoder_is_frozen:
        made = recipe(made, epochs=options["paper_epochs" if paper else "epochs"])
    arguments = {**(PAPER_ARGUMENTS if paper else {}), **options["arguments"]}
    trained(model, opened(dataset, split), made, folder, seed=seed, **arguments)
    return folder


def row(name, folders):
    """The figures of a recipe: of the first seed with its interval, and the mean and deviation over seeds."""
    results = [read_result(folder) for folder in folders]
    first, run = results[0].pooled, results[0].run
    uar = [100 * it.pooled["uar"] for it in results]
    bounds = first["intervals"]["uar"]
    memory = run.get("peak_memory_bytes", {})
    seconds = run["seconds"]["total"] if run else float((folders[0] / "seconds").read_text())
    return {
        "recipe": name,
        "UAR %": f"{uar[0]:.1f}" + (f" ({100 * bounds[0]:.1f}–{100 * bounds[1]:.1f})" if bounds else ""),
        "over seeds": f"{mean(uar):.1f} ± {stdev(uar):.1f}" if len(uar) > 1 else "–",
        "accuracy %": f"{100 * first['accuracy']:.1f}",
        "macro F1": f"{first['f1']['macro']:.3f}",
        "EER": f"{first['eer']['macro']:.3f}",
        "trained": f"{run['model']['trainable_parameters']:,}" if run else "–",
        "epochs": f"{run['history'][-1]['epoch']:g}" if run else "–",
        "minutes": f"{seconds / 60:.1f}",
        "GiB": f"{(memory.get('device') or memory['host']) / 2**30:.1f}" if run else "–",
    }


def differences(folders):
    """By recipe, the difference of its UAR to that of the probe, in points with its interval, and its p-value."""
    found = {}
    if PROBE not in folders:
        return found
    for name, runs in folders.items():
        if name != PROBE:
            (pair,) = compare(runs[0], folders[PROBE][0]).pairs
            found[name] = f"{100 * pair['difference']:+.1f}"
            if pair["interval"]:
                found[name] += " ({:+.1f} to {:+.1f})".format(*(100 * it for it in pair["interval"]))
    return found


def table(rows):
    """Markdown."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(it.get(head, "–")) for head in heads] for it in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="one or more, with commas")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--output-dir", required=True, type=Path)
    parser.add_argument("--protocols", default="speaker_independent", help="also leave_one_out and paper")
    parser.add_argument(
        "--recipes", default=",".join([*(f"paper_{name}" for name in PAPER_RECIPES), *RECIPES, *BASELINES])
    )
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--paper-epochs", type=float, default=1.0)
    parser.add_argument("--seeds", default="42")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--arguments", type=json.loads, default={}, help="of TrainingArguments, as JSON")
    options = parser.parse_args()
    names, seeds = options.recipes.split(","), [int(seed) for seed in options.seeds.split(",")]
    splits = [
        split
        for protocol in options.protocols.split(",")
        for split in ([f"leave_out_{corpus}" for corpus in CORPORA] if protocol == "leave_one_out" else [protocol])
    ]
    machine, folders, jobs = describe(), {}, []
    # What takes longest is started first.
    for name in sorted(names, key=lambda it: not it.startswith("paper_")):
        for model in options.model.split(","):
            for split in splits:
                for seed in seeds if split == "speaker_independent" and name not in BASELINES else seeds[:1]:
                    folder = options.output_dir / Path(model).name / split / name / str(seed)
                    folders.setdefault((model, split), {}).setdefault(name, []).append(folder)
                    jobs.append((model, split, name, seed, folder))
    chosen = {"epochs": options.epochs, "paper_epochs": options.paper_epochs, "arguments": options.arguments}
    run = functools.partial(train, dataset=options.dataset, options=chosen)
    failed = [job for job, done in side_by_side(run, jobs, options.processes) if done is None]
    text = [machine]
    for (model, split), runs in folders.items():
        runs = {name: runs[name] for name in names}
        whole = {name: it for name, it in runs.items() if all((folder / "metrics.json").is_file() for folder in it)}
        if not whole:
            continue
        against = differences(whole)
        rows = [row(name, it) | {f"against {PROBE}": against.get(name, "–")} for name, it in whole.items()]
        text.append(f"### {Path(model).name}, `{split}`\n\n{table(rows)}")
    print("\n\n".join(text))
    (options.output_dir / "table.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    if failed:
        raise SystemExit(f"{len(failed)} runs failed; repeat the command")


if __name__ == "__main__":
    main()
