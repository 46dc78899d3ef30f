"""What holds for the front matter of every model card."""

import copy
import re

import yaml
from huggingface_hub.repocard_data import ModelCardData

from hf_ser.hub.blocks import BEGIN, END
from hub_server.cards import validate

# From the Hub's rejections: https://github.com/embeddings-benchmark/mteb/issues/1111 (types of data sets).
DATASET_TYPE = re.compile(r"^(?:[\w-]+/)?[\w.-]+$", re.ASCII)
HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$", re.ASCII)


def parts_of(card: str) -> tuple[dict, str]:
    """Return the front matter and the generated block, which is all of the rest."""
    opening, front_matter, body = card.split("---\n", 2)
    assert opening == ""
    assert body.startswith(f"\n{BEGIN}\n")
    assert body.endswith(f"\n{END}\n")
    return yaml.safe_load(front_matter), body


def check_front_matter(card: str) -> dict:
    data, _ = parts_of(card)
    assert validate(card, "model") == ([], [])
    assert not {key for key, value in data.items() if value in (None, [], {}, "")}
    assert data["pipeline_tag"] == "audio-classification"
    assert len(data["tags"]) == len(set(data["tags"]))
    assert all(isinstance(tag, str) and len(tag) <= 96 for tag in data["tags"])
    if data.get("license") == "other":
        assert "license_name" in data
        assert re.fullmatch(r"https?://\S+", data.get("license_link", "http://x"))
    for value in (data.get("base_model"), *data.get("datasets", ())):
        assert value is None or HUB_ID.match(value)
    assert ("base_model" in data) == ("base_model_relation" in data)
    (model,) = data["model-index"]
    assert re.fullmatch(r"[\w.-]+", model["name"])
    (result,) = model["results"]
    assert result["task"]["type"] == "audio-classification"
    assert DATASET_TYPE.match(result["dataset"]["type"]), result["dataset"]
    # The headline only: everything else is in the text and in metrics.json.
    assert len(result["metrics"]) <= 6
    assert all(isinstance(metric["value"], float) and 0 <= metric["value"] <= 1 for metric in result["metrics"])
    # The client reads it back as it was written.
    assert ModelCardData(**copy.deepcopy(data)).to_dict()["model-index"] == data["model-index"]
    return data
