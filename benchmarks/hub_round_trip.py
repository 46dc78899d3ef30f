"""What is pushed comes back the same: the largest difference of logits over a trip through the Hub.

    python benchmarks/hub_round_trip.py --encoder ../shared/encoders/hubert-tiny

A loopback Hub serves the base encoders. For each encoder, four fresh processes with caches of their own: one
fine-tunes each kind of artefact for ten steps (standardised features, trained LoRA) and saves it; one pushes; one
pulls by `hf_ser.load`; one pulls by plain `transformers` or `peft`, with hf_ser not importable. Without --encoder,
tiny random encoders of every architecture.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

# Not in the order of the eight emotions, and one that is none of them.
LABELS = ("sad", "bored", "angry", "neutral", "happy")
GOALS = {"full": 0.0, "lora_qkv": 1e-6, "lora_classifier": 1e-6, "merged": 1e-5}
RATE = 16_000


def clips(count, seed):
    """Tones in noise, 0.4 to 1.9 seconds."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        time = np.arange(int(RATE * random.uniform(0.4, 1.9))) / RATE
        tone = np.sin(2 * np.pi * random.uniform(80, 900) * time)
        found.append((0.2 * tone + 0.05 * random.standard_normal(len(time))).astype(np.float32))
    return found


def logits_of(model, feature_extractor):
    """Logits of each probe clip alone: `(clips, labels)`."""
    import torch

    from hf_ser.audio.collate import Collator
    from hf_ser.models.architectures import plain_model

    collate = Collator(feature_extractor, plain_model(model).config, training=False)
    with torch.no_grad():
        return np.concatenate([model.eval()(**collate([{"samples": it}])).logits.numpy() for it in clips(3, seed=1)])


def make(case):
    """Fine-tune from the base on the Hub, and save; return logits as trained and as saved."""
    import torch

    from hf_ser import load
    from hf_ser.audio.collate import Collator
    from hf_ser.models.adapting import adapt
    from hf_ser.models.checkpoint import save_model
    from hf_ser.models.encoders import open_encoder, open_feature_extractor
    from hf_ser.models.head import FeatureStatistics, attach, pooled_inputs
    from hf_ser.models.recipes import RECIPES
    from hf_ser.models.snapshot import open_snapshot

    snapshot = open_snapshot(case["base"])
    torch.manual_seed(0)
    model, _ = open_encoder(snapshot, LABELS, seed=2)
    feature_extractor = open_feature_extractor(snapshot)
    collate = Collator(feature_extractor, model.config, training=True)
    batches = [collate([{"samples": it, "labels": number % 5}]) for number, it in enumerate(clips(10, seed=0))]
    before = logits_of(model, feature_extractor)
    with torch.no_grad():
        pooled = [pooled_inputs(model, {key: it[key] for key in it.keys() - {"labels"}}) for it in batches]
    model = adapt(model, RECIPES[case["recipe"]])
    attach(model, FeatureStatistics.of(torch.cat(pooled)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    model.train()
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    answer = {"before": before.tolist(), "trained": logits_of(model, feature_extractor).tolist()}
    save_model(model, case["folder"], feature_extractor, snapshot.name, snapshot.commit)
    return {**answer, "saved": logits_of(load(case["folder"]).model, feature_extractor).tolist()}


def push(case):
    """Push what lies in the folder, merged where the case says so."""
    from hf_ser import load, push_to_hub

    return push_to_hub(load(case["folder"]), case["repo"], merged=case["merged"]).commit


def pull(case):
    """Load by this library."""
    from hf_ser import load

    classifier = load(case["repo"])
    return {"logits": logits_of(classifier.model, classifier.feature_extractor).tolist(), "labels": classifier.labels}


def pull_plainly(case):
    """Load as the model card says, without this library."""
    sys.modules["hf_ser"] = None
    import torch
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

    name = case["repo"]
    if case["recipe"] == "full" or case["merged"]:
        model = AutoModelForAudioClassification.from_pretrained(name)
    else:
        from peft import PeftModel

        config = AutoConfig.from_pretrained(name)
        model = AutoModelForAudioClassification.from_pretrained(
            case["base"], config=config, ignore_mismatched_sizes=True
        )
        model = PeftModel.from_pretrained(model, name).eval()
    feature_extractor = AutoFeatureExtractor.from_pretrained(name)
    logits = []
    for clip in clips(3, seed=1):
        inputs = feature_extractor(clip, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            logits.append(model(**inputs).logits[0].tolist())
    return {"logits": logits, "labels": [model.config.id2label[index] for index in range(model.config.num_labels)]}


STEPS = {"make": make, "push": push, "pull": pull, "pull_plainly": pull_plainly}


def run_step(hub, step, cases):
    """Run a step on cases in one fresh process with a cache of its own."""
    command = [sys.executable, __file__, "--step", step, json.dumps(cases)]
    done = hub.execute(command, token=hub.token("alice"))
    if done.returncode:
        raise SystemExit(f"{step} of {', '.join(case['repo'] for case in cases)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def cases_of(encoder, base, folder):
    """Every kind of artefact that an encoder can give."""
    wavlm = json.loads((base / "config.json").read_text())["model_type"] == "wavlm"
    found = []
    for kind in GOALS:
        recipe = {"merged": "lora_classifier" if wavlm else "lora_qkv"}.get(kind, kind)
        if wavlm and recipe == "lora_qkv":
            # Refused by name: LoRA trains nothing in WavLM's attention.
            continue
        case = {"encoder": encoder, "kind": kind, "recipe": recipe, "merged": kind == "merged"}
        found.append(
            {
                **case,
                "repo": f"alice/{encoder}-{kind}",
                "base": f"alice/{encoder}",
                "folder": f"{folder}/{encoder}-{kind}",
            }
        )
    return found


def round_trip(hub, cases):
    """Return for each case the logits' scale and their largest differences, and whether the labels came back."""
    made = run_step(hub, "make", cases)
    run_step(hub, "push", cases)
    rows = []
    for case, before, ours, plain in zip(
        cases, made, run_step(hub, "pull", cases), run_step(hub, "pull_plainly", cases), strict=True
    ):
        saved = np.array(before["saved"])
        labels = all(tuple(answer["labels"]) == LABELS for answer in (ours, plain))
        rows.append(
            {
                **{key: case[key] for key in ("encoder", "kind")},
                "scale": float(np.abs(saved).max()),
                "moved": float(np.abs(saved - before["before"]).max()),
                "folding": float(np.abs(saved - before["trained"]).max()),
                "load": float(np.abs(saved - ours["logits"]).max()),
                "plain": float(np.abs(saved - plain["logits"]).max()),
                "goal": GOALS[case["kind"]],
                "labels": labels,
            }
        )
    return rows


def render(rows):
    """Return a Markdown table of the largest differences from the logits of the model as it was saved.

    moved: of the model before it trained, so that a difference would be seen; folded: of the model as it trained,
    with the standardisation as a step of its own; load: after `hf_ser.load`; plain: after the plain library;
    ratio: of load to the largest logit.
    """
    columns = ("encoder", "artefact", "logits to", "moved", "folded", "load", "goal", "met", "plain", "ratio", "labels")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        goal = "0" if row["goal"] == 0 else f"< {row['goal']:.0e}"
        met = "yes" if row["load"] <= row["goal"] else "no"
        cells = [row["encoder"], row["kind"], f"{row['scale']:.3g}", f"{row['moved']:.2g}", f"{row['folding']:.1e}"]
        cells += [f"{row['load']:.1e}", goal, met, f"{row['plain']:.1e}", f"{row['load'] / row['scale']:.1e}"]
        lines.append(f"| {' | '.join([*cells, 'right' if row['labels'] else 'WRONG'])} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", action="append", default=[], type=Path, help="folder of a real encoder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "CASES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, cases = options.step
        print(json.dumps([STEPS[step](case) for case in json.loads(cases)]))
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from hub_server import Hub  # noqa: I001 - found through the line above

    from hf_ser.quickstart.encoder import TINY_ARCHITECTURES, write_tiny_encoder

    rows = []
    with tempfile.TemporaryDirectory() as scratch, Hub() as hub:
        encoders = {folder.name: folder for folder in options.encoder}
        if not encoders:
            encoders = {
                name: write_tiny_encoder(Path(scratch) / name, architecture=name) for name in TINY_ARCHITECTURES
            }
        for name, folder in encoders.items():
            hub.create_from_folder(f"alice/{name}", Path(folder))
            rows += round_trip(hub, cases_of(name, Path(folder), scratch))
            print(render(rows).splitlines()[-1], file=sys.stderr)
    print(render(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
