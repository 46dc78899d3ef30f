"""Cards of models in training, and of models without records."""

import re

import pytest
from card_checks import example_records, parts_of

from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import merge_card
from hf_ser.hub.card_without_results import render_card_without_records, render_progress_card
from hf_ser.models.recipes import RECIPES
from hub_server.cards import validate


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_card_of_a_model_in_training(recipe):
    run, metrics = example_records(recipe)
    full = render_model_card(run, metrics, repo_id="me/ser")
    history = [{"step": 500, "epoch": 1.0, "loss": 1.2, "uar": 0.4, "accuracy": 0.41, "f1_macro": None}]
    so_far = {
        key: run[key] for key in ("hf_ser", "model", "recipe", "protocol", "labels", "dataset", "segment_seconds")
    }
    so_far |= {"steps": 500, "planned_steps": 1234, "history": history}
    card = render_progress_card(so_far, repo_id="me/ser")
    data, body = parts_of(card)
    assert validate(card, "model") == ([], [])
    finished, _ = parts_of(full)
    assert data == {key: value for key, value in finished.items() if key not in ("metrics", "model-index")}
    assert "> **Training is in progress: step 500 of 1,234.**" in body
    assert "| step | epoch | UAR | accuracy |\n|---|---:|---:|---:|\n| 500 | 1.00 | 40.0 | 41.0 |\n" in body
    assert 'load("me/ser")' in body
    assert f"by the recipe `{run['recipe']['name']}`" in body
    for absent in ("test clips", "## Results", "confusion.png"):
        assert absent not in body
    # The finished model's card takes its place.
    assert merge_card(full, card, card) == full


@pytest.mark.parametrize("run", [{}, {"steps": 0}, {"history": [{"step": 1, "epoch": 0.5, "uar": None}]}])
def test_a_model_in_training_of_which_little_is_known(run):
    card = render_progress_card(run)
    assert "Training is in progress" in card
    assert not re.search(r"None|\{\}|(?<!`)``(?!`)|Validation", card)
    assert validate(card, "model") == ([], [])


@pytest.mark.parametrize(("saved", "library"), [("adapter", "peft"), ("merged", "transformers"), (None, None)])
def test_the_card_of_a_model_without_records(saved, library):
    run = {"model": {"name": "me/hubert", "local": False, "saved": saved}, "labels": ["calm", "sad"]}
    card = render_card_without_records(run, repo_id="me/ser")
    data, body = parts_of(card)
    assert validate(card, "model") == ([], [])
    assert data.get("library_name") == library
    assert "> **Nothing is known of this model's quality.**" in body
    assert "one of 2 labels: calm, sad" in body
    assert "Warning" not in body
    assert body.count("```python") == (2 if saved else 1)


def test_a_model_in_training_whose_parts_share_speakers_says_so():
    run, _ = example_records("lora_qkv")
    assert "**Warning: speakers leak.**" in render_progress_card({**run, "protocol": "paper"})
