"""Cards on a Hub: accepted by its validator, read back by the client, and found by its search."""

import json

import pytest
from golden import read_records

from hf_ser.hub.card import render_model_card

BASE = "facebook/hubert-base-ls960"
SAVED = {"full": "checkpoint", "lora_qkv": "adapter", "merged": "merged"}

CODE = """
import json, sys
from huggingface_hub import HfApi, ModelCard

api, owner = HfApi(token=False), "carol-cards"
seen = {}
def found(**asked):
    return sorted(model.id.partition("/")[2] for model in api.list_models(author="alice", search="card-", **asked))

base = "facebook/hubert-base-ls960"
for name, asked in {
    "task": {"pipeline_tag": "audio-classification"},
    "emotion": {"filter": ["speech-emotion-recognition", "emotion"]},
    "library": {"filter": "hf_ser"},
    "transformers": {"filter": "transformers"},
    "peft": {"filter": "peft"},
    "lora": {"filter": "lora"},
    "recipe": {"filter": "lora_qkv"},
    "base": {"filter": f"base_model:{base}"},
    "adapters": {"filter": f"base_model:adapter:{base}"},
    "finetunes": {"filter": f"base_model:finetune:{base}"},
    "merges": {"filter": f"base_model:merge:{base}"},
    "dataset": {"trained_dataset": "alice/eight_emotions"},
    "language": {"filter": "en"},
    "licence": {"filter": "license:other"},
    "results": {"filter": "model-index"},
    "emissions": {"emissions_thresholds": (10, 20), "cardData": True},
    "all": {"filter": ["peft", "en", "audio-classification", "dataset:alice/eight_emotions"]},
}.items():
    seen[name] = found(**asked)
seen["cards"] = {}
for name in seen["task"]:
    card = ModelCard.load(f"alice/{name}", token=False)
    card.validate(repo_type="model")
    seen["cards"][name] = {
        "results": len(card.data.eval_results or []),
        "uar": [r.metric_value for r in card.data.eval_results or [] if r.metric_type == "recall" and
                r.metric_args == {"average": "macro"}],
    }
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(hub, tmp_path_factory):
    for name, saved in SAVED.items():
        run, metrics = read_records("lora_qkv" if name == "merged" else name)
        run["model"] |= {"name": BASE, "local": False, "saved": saved}
        run["dataset"] |= {"name": "alice/eight_emotions", "local": False}
        if name == "full":
            run["emissions"] = {"grams": 12.0, "source": "CodeCarbon"}
        files = {"README.md": render_model_card(run, metrics, repo_id=f"alice/card-{name}")}
        files["config.json"] = json.dumps(
            {"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]}
        )
        if saved == "adapter":
            files["adapter_config.json"] = "{}"
        hub.create(f"alice/card-{name}", files)
        if name == "lora_qkv":
            progress = {"step": 1, "epoch": 1.0}
            files["README.md"] = render_model_card(run, None, repo_id="alice/card-training", progress=progress)
            hub.create("alice/card-training", files)
    return json.loads(hub.run(CODE, cwd=tmp_path_factory.mktemp("search")).strip().splitlines()[-1])


EVERY = ["card-full", "card-lora_qkv", "card-merged", "card-training"]


@pytest.mark.parametrize(
    ("search", "names"),
    [
        *((search, EVERY) for search in ("task", "emotion", "library", "base", "dataset", "language", "licence")),
        ("transformers", ["card-full", "card-merged"]),
        ("peft", ["card-lora_qkv", "card-training"]),
        ("lora", ["card-lora_qkv", "card-training"]),
        ("recipe", ["card-lora_qkv", "card-merged", "card-training"]),
        ("adapters", ["card-lora_qkv", "card-training"]),
        # An adapter merged into its one base is a fine-tuned model; the Hub's merges have several bases.
        ("finetunes", ["card-full", "card-merged"]),
        ("merges", []),
        ("results", ["card-full", "card-lora_qkv", "card-merged"]),
        ("emissions", ["card-full"]),
        ("all", ["card-lora_qkv", "card-training"]),
    ],
)
def test_the_hubs_search_finds_the_model(seen, search, names):
    assert seen[search] == names


def test_the_client_reads_every_result_back(seen):
    assert seen["cards"]["card-training"] == {"results": 0, "uar": []}
    for name in ("full", "lora_qkv"):
        _, metrics = read_records(name)
        found = seen["cards"][f"card-{name}"]
        assert found["uar"] == [round(metrics["test"]["pooled"]["uar"], 4)]
        assert found["results"] == 5
