"""An invented run, and what holds for the front matter of every card of a model."""

import copy
import json
import re
from pathlib import Path

import yaml
from huggingface_hub.repocard_data import ModelCardData

from hf_ser.models.recipes import RECIPES

EXAMPLE = Path(__file__).parent / "example"

# From the Hub's refusals: https://github.com/embeddings-benchmark/mteb/issues/1111 (types of data sets) and
# https://github.com/huggingface/huggingface_hub/issues/4218 (licences, of which these are what a card here may name).
DATASET_TYPE = re.compile(r"^(?:[\w-]+/)?[\w.-]+$", re.ASCII)
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$", re.ASCII)
LICENCES = {"cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "odbl", "other"}


def example_records(recipe: str = "lora_qkv") -> tuple[dict, dict]:
    """Return run.json and metrics.json of an invented run, by another recipe where one is named."""
    run, metrics = (json.loads((EXAMPLE / name).read_text()) for name in ("run.json", "metrics.json"))
    if recipe != run["recipe"]["name"]:
        run["recipe"] = json.loads(json.dumps(RECIPES[recipe].as_dict()))
        run["model"]["saved"] = "adapter" if run["recipe"]["lora"] else "checkpoint"
    return run, metrics


def parts_of(card: str) -> tuple[dict, str]:
    opening, front_matter, body = card.split("---\n", 2)
    assert opening == ""
    return yaml.load(front_matter, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), body


def check_front_matter(card: str) -> dict:
    data, _ = parts_of(card)
    assert not {key for key, value in data.items() if value in (None, [], {}, "")}
    assert data["pipeline_tag"] == "audio-classification"
    assert len(data["tags"]) == len(set(data["tags"]))
    assert all(isinstance(tag, str) and len(tag) <= 96 for tag in data["tags"])
    if "license" in data:
        assert data["license"] in LICENCES
        assert (data["license"] == "other") == ("license_name" in data) == ("license_link" in data)
        assert re.fullmatch(r"https?://\S+", data.get("license_link", "http://x"))
    for key in ("base_model", *(("datasets",) if "datasets" in data else ())):
        values = data.get(key) or []
        assert all(HUB_ID.match(value) for value in ([values] if isinstance(values, str) else values))
    assert ("base_model" in data) == ("base_model_relation" in data)
    (model,) = data["model-index"]
    assert re.fullmatch(r"[\w.-]+", model["name"])
    seen = set()
    for result in model["results"]:
        assert result["task"]["type"] == "audio-classification"
        assert DATASET_TYPE.match(result["dataset"]["type"]), result["dataset"]
        assert result["dataset"]["name"]
        for metric in result["metrics"]:
            key = (result["dataset"]["type"], result["dataset"]["config"], metric["type"], str(metric.get("args")))
            assert key not in seen
            seen.add(key)
            assert isinstance(metric["value"], float)
            assert 0 <= metric["value"] <= 1
    # The client reads it back as it was written.
    assert ModelCardData(**copy.deepcopy(data)).to_dict()["model-index"] == data["model-index"]
    return data
