"""A real run that pushes every save, and what others then load from the repository.

    python benchmarks/push_while_training.py --corpora ../shared/corpora --encoder ../shared/encoders/hubert-tiny \
        --run lora_qkv:100 --records runs

A loopback Hub serves the encoder. One process fine-tunes on real speech with `push_to=`; a second one, with a cache of
its own, loads the repository by `hf_ser.load`; a third, in which hf_ser cannot be imported, by the plain library that
the card names. An adapter is then pushed merged, too, and read by `pipeline`.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

TRAIN = """
import json, sys
from hf_ser import finetune, recipe, training_arguments
name, steps, corpora, repo, out = sys.argv[1:6]
half = {"eval_strategy": "steps", "eval_steps": -(-int(steps) // 2)} if steps != "all" else {}
options = {"max_steps": int(steps), **half} if half else {}
chosen = recipe(name, patience=None)
arguments = training_arguments(chosen, out, disable_tqdm=True, **options)
result = finetune("alice/encoder", corpora, recipe=chosen, output_dir=out, args=arguments, push_to=repo)
if name != "full":
    result.push_to_hub(repo + "-merged", merged=True)
report = result.report
print(json.dumps({"uar": report["uar"], "accuracy": report["accuracy"], "seconds": result.run["seconds"]}))
"""
LOAD = """
import json, sys
from hf_ser import load
print(json.dumps(load(sys.argv[1])(sys.argv[2])["scores"]))
"""
PIPELINE = """
import json, sys
sys.modules["hf_ser"] = None
import soundfile, soxr
from transformers import pipeline
classify = pipeline("audio-classification", model=sys.argv[1])
samples, rate = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
samples = soxr.resample(samples.mean(axis=1), rate, classify.feature_extractor.sampling_rate)
print(json.dumps({answer["label"]: answer["score"] for answer in classify(samples, top_k=None)}))
"""


def measure(hub, recipe: str, steps: str, options: argparse.Namespace, scratch: Path) -> list[str]:
    repo, token, out = f"alice/{recipe.replace('_', '-')}", hub.token("alice"), scratch / recipe
    begin = time.perf_counter()
    corpora = str(options.corpora.resolve())
    told = hub.run(TRAIN, recipe, steps, corpora, repo, str(out), token=token, timeout_seconds=7200, cwd=scratch)
    trained, seconds = json.loads(told.splitlines()[-1]), time.perf_counter() - begin
    if options.records:
        shutil.copytree(out, options.records / recipe)
    clip = next(path for path in sorted((options.corpora / "savee").rglob("*")) if path.suffix in (".opus", ".wav"))
    plain = repo if recipe == "full" else f"{repo}-merged"

    def answers(code: str, name: str) -> dict[str, float]:
        return json.loads(hub.run(code, name, str(clip.resolve()), token=token, cwd=scratch).splitlines()[-1])

    ours, piped = answers(LOAD, repo), answers(PIPELINE, plain)
    difference = max(abs(ours[label] - piped[label]) for label in ours)
    saves = sum("progress" in commit.title.lower() for commit in hub.commits(repo))
    return [
        recipe,
        steps,
        str(saves),
        f"{100 * trained['uar']:.1f}",
        f"{100 * trained['accuracy']:.1f}",
        f"{seconds:.0f}",
        f"{difference:.1g}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--run", action="append", metavar="RECIPE:STEPS", help="steps, or all for the recipe's epochs")
    parser.add_argument("--records", type=Path, help="keep the runs' folders here")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from machine import describe

    from hf_ser.text import markdown_table
    from hub_server import Hub

    print(describe(), "\n")
    rows = []
    with tempfile.TemporaryDirectory() as scratch, Hub() as hub:
        hub.create_from_folder("alice/encoder", options.encoder)
        for run in options.run or ["lora_classifier:all", "lora_qkv:100", "full:60"]:
            recipe, _, steps = run.partition(":")
            rows.append(measure(hub, recipe, steps, options, Path(scratch)))
            print(rows[-1], file=sys.stderr)
    header = ["recipe", "steps", "saves pushed", "UAR %", "accuracy %", "seconds", "load against pipeline"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
