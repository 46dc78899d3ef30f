"""How to load the model, as code that runs as printed."""

import json
from collections.abc import Mapping
from typing import Any

from hf_ser.hub.facts import SEGMENT_SECONDS, Facts, code

__all__ = ["snippets"]

_CHECKPOINT = """\
import soundfile
import soxr
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

classify = pipeline("audio-classification", model={name})
samples, rate = soundfile.read("clip.wav", dtype="float32", always_2d=True)
samples = soxr.resample(samples.mean(axis=1), rate, classify.feature_extractor.sampling_rate)
print(classify(samples, top_k=None))

# The same, step by step.
model = AutoModelForAudioClassification.from_pretrained({name})
feature_extractor = AutoFeatureExtractor.from_pretrained({name})
inputs = feature_extractor(samples, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
with torch.inference_mode():
    scores = model(**inputs).logits.softmax(-1)[0]
print({{label: float(scores[index]) for index, label in model.config.id2label.items()}})"""

_ADAPTER = """\
import soundfile
import soxr
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

base, adapter = {base}, {name}
config = AutoConfig.from_pretrained(adapter)
model = AutoModelForAudioClassification.from_pretrained(
    base, config=config, ignore_mismatched_sizes=True{revision}
)
model = PeftModel.from_pretrained(model, adapter).eval()
feature_extractor = AutoFeatureExtractor.from_pretrained(adapter)

samples, rate = soundfile.read("clip.wav", dtype="float32", always_2d=True)
samples = soxr.resample(samples.mean(axis=1), rate, feature_extractor.sampling_rate)
inputs = feature_extractor(samples, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
with torch.inference_mode():
    scores = model(**inputs).logits.softmax(-1)[0]
print({{label: float(scores[index]) for index, label in config.id2label.items()}})"""


def snippets(run: Mapping[str, Any], facts: Facts, repo_id: str | None) -> dict[str, str | None]:
    """Return how to load the model by this library and without it.

    Args:
        run: Contents of run.json.
        facts: The same, read.
        repo_id: The repository; None loads from the current folder.

    Returns:
        `hf_ser` and `plain`: code; `library`: what the plain code needs; `note`: what to know beside. None
        where the record does not tell what was saved.

    Example:
        >>> from hf_ser.hub.facts import read_facts
        >>> run = {"model": {"name": "facebook/hubert-base-ls960", "saved": "checkpoint"}}
        >>> print(snippets(run, read_facts(run, {}), "me/ser")["hf_ser"])
        from hf_ser import load
        <BLANKLINE>
        classify = load("me/ser")
        print(classify("clip.wav"))  # {'label': ..., 'scores': {...}}
    """
    name = _quoted(repo_id or ".")
    segment = run.get("segment_seconds") or SEGMENT_SECONDS
    option = "" if segment == SEGMENT_SECONDS else f", segment_seconds={segment:g}"
    load = f"load({name}{option})"
    found: dict[str, str | None] = {
        "hf_ser": f"from hf_ser import load\n\nclassify = {load}\n"
        "print(classify(\"clip.wav\"))  # {'label': ..., 'scores': {...}}",
        "plain": None,
        "library": None,
        "note": None,
    }
    if facts.saved in ("checkpoint", "merged"):
        found |= {"plain": _CHECKPOINT.format(name=name), "library": "transformers"}
    elif facts.saved == "adapter" and facts.base:
        base = facts.base_id or f"path/to/{facts.base}"
        revision = f", revision={_quoted(facts.revision)}" if facts.revision else ""
        plain = _ADAPTER.format(base=_quoted(base), name=name, revision=revision)
        found |= {"plain": plain, "library": "peft", "note": _base_note(facts)}
    return found


def _base_note(facts: Facts) -> str:
    if facts.base_id:
        return f"The adapter needs its base model, {code(facts.base_id)}; both snippets fetch it."
    return (
        f"The adapter needs its base model, {code(facts.base or '')}, which was a local folder and is not on the Hub: "
        f"nothing loads without it. `load` looks for it where `adapter_config.json` says."
    )


def _quoted(name: str) -> str:
    # JSON's strings are Python's, in double quotes as a formatter would have them.
    return json.dumps(name)
