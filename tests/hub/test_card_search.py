"""Cards on a Hub: read back by the client, and found by its search."""

import json

import pytest
from golden import read_records

from hf_ser.hub.card import render_model_card

BASE = "facebook/hubert-base-ls960"
SAVED = {"full": "checkpoint", "lora_qkv": "adapter", "merged": "merged"}
CHECKPOINTS, ADAPTERS = ["card-full", "card-merged"], ["card-lora_qkv", "card-training"]
EVERY = sorted(CHECKPOINTS + ADAPTERS)
SEARCHES = [
    ({"pipeline_tag": "audio-classification"}, EVERY),
    ({"filter": ["speech-emotion-recognition", "emotion"]}, EVERY),
    ({"filter": "hf_ser"}, EVERY),
    ({"filter": "transformers"}, CHECKPOINTS),
    ({"filter": "peft"}, ADAPTERS),
    ({"filter": "lora"}, ADAPTERS),
    ({"filter": "lora_qkv"}, ["card-lora_qkv", "card-merged", "card-training"]),
    ({"filter": f"base_model:{BASE}"}, EVERY),
    ({"filter": f"base_model:adapter:{BASE}"}, ADAPTERS),
    # An adapter merged into its one base is a fine-tuned model; the Hub's merges have several bases.
    ({"filter": f"base_model:finetune:{BASE}"}, CHECKPOINTS),
    ({"filter": f"base_model:merge:{BASE}"}, []),
    ({"trained_dataset": "alice/eight_emotions"}, EVERY),
    ({"filter": ["en", "license:other"]}, EVERY),
    ({"filter": "model-index"}, ["card-full", "card-lora_qkv", "card-merged"]),
]
CODE = """
import json, sys
from huggingface_hub import HfApi, ModelCard

api = HfApi(token=False)
searches, names = json.loads(sys.argv[1])
found = [sorted(model.id.partition("/")[2] for model in api.list_models(author="alice", search="card-", **asked))
         for asked in searches]
cards = {}
for name in names:
    card = ModelCard.load(f"alice/{name}", token=False)
    card.validate(repo_type="model")
    cards[name] = {result.metric_name: result.metric_value for result in card.data.eval_results or []}
print(json.dumps([found, cards]))
"""


@pytest.fixture(scope="module")
def seen(hub, tmp_path_factory):
    config = json.dumps({"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]})
    for name, saved in SAVED.items():
        run, metrics = read_records("lora_qkv" if name == "merged" else name)
        run["model"] |= {"name": BASE, "local": False, "saved": saved}
        run["dataset"] |= {"name": "alice/eight_emotions", "local": False}
        files = {"config.json": config, **({"adapter_config.json": "{}"} if saved == "adapter" else {})}
        card = render_model_card(run, metrics, repo_id=f"alice/card-{name}")
        hub.create(f"alice/card-{name}", {**files, "README.md": card})
        if saved == "adapter":
            card = render_model_card(run, None, repo_id="alice/card-training", progress={"step": 1, "epoch": 1.0})
            hub.create("alice/card-training", {**files, "README.md": card})
    asked = json.dumps([[asked for asked, _ in SEARCHES], EVERY])
    return json.loads(hub.run(CODE, asked, cwd=tmp_path_factory.mktemp("search")).strip().splitlines()[-1])


@pytest.mark.parametrize("number", range(len(SEARCHES)))
def test_the_hubs_search_finds_the_model(seen, number):
    asked, names = SEARCHES[number]
    assert seen[0][number] == names, asked


def test_the_client_reads_every_result_back(seen):
    assert seen[1]["card-training"] == {}
    for name in ("full", "lora_qkv"):
        _, metrics = read_records(name)
        found = seen[1][f"card-{name}"]
        assert found["UAR (unweighted average recall)"] == round(metrics["test"]["pooled"]["uar"], 4)
        assert len(found) == 5
