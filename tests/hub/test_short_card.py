"""Cards of models in training, and of models without records."""

import pytest
from card_checks import example_records, parts_of

from hf_ser.errors import InputError
from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import merge_card
from hf_ser.hub.short_card import render_short_card
from hf_ser.models.recipes import RECIPES
from hub_server.cards import validate


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_card_of_a_model_in_training(recipe):
    run, metrics = example_records(recipe)
    full = render_model_card(run, metrics, repo_id="me/ser")
    known = ("hf_ser", "model", "recipe", "protocol", "labels", "dataset", "segment_seconds")
    progress = {"step": 1200, "epoch": 1.5, "validation_uar": 0.4}
    card = render_short_card({key: run[key] for key in known}, repo_id="me/ser", progress=progress)
    data, body = parts_of(card)
    assert validate(card, "model") == ([], [])
    finished, _ = parts_of(full)
    assert data == {key: value for key, value in finished.items() if key not in ("metrics", "model-index")}
    assert "> **Training is in progress.** This is the checkpoint of step 1,200 (epoch 1.50), with a UAR of" in body
    assert "of 40.0 % on the validation part" in body
    assert 'load("me/ser")' in body
    assert f"by the recipe `{recipe}`" in body
    for absent in ("test clips of", "## Results", "confusion.png"):
        assert absent not in body
    # The finished model's card takes its place.
    assert merge_card(full, card, card) == full


def test_what_was_not_measured_is_left_out():
    card = render_short_card({}, progress={"step": 3, "epoch": 0.5, "validation_uar": None})
    assert "step 3 (epoch 0.50). The test part has not been read yet" in card
    for absent in ("UAR", "None", "## Labels", "base_model"):
        assert absent not in card
    assert validate(card, "model") == ([], [])


@pytest.mark.parametrize(("saved", "library"), [("adapter", "peft"), ("merged", "transformers"), (None, None)])
def test_the_card_of_a_model_without_records(saved, library):
    run = {"model": {"name": "me/hubert", "local": False, "saved": saved}, "labels": ["calm", "sad"]}
    card = render_short_card(run, repo_id="me/ser")
    data, body = parts_of(card)
    assert validate(card, "model") == ([], [])
    assert data.get("library_name") == library
    assert "> **Nothing is known of this model's quality.**" in body
    assert "| label | id |\n|---|---:|\n| calm | 0 |\n| sad | 1 |" in body
    assert "Warning" not in body
    assert body.count("```python") == (2 if saved else 1)


def test_a_model_in_training_whose_parts_share_speakers_says_so():
    run, _ = example_records()
    progress = {"step": 1, "epoch": 0.1}
    assert "**Warning: speakers leak.**" in render_short_card({**run, "protocol": "paper"}, progress=progress)


def test_a_local_path_stays_on_its_machine():
    card = render_short_card({"model": {"name": "/home/me/encoders/tiny", "saved": "adapter"}}, repo_id="me/ser")
    assert "/home" not in card
    assert "`tiny` (a local folder, not on the Hub)" in card


def test_a_name_that_no_repository_can_have_is_refused():
    with pytest.raises(InputError, match="repo_id 'me/my model' is no repository"):
        render_short_card({}, repo_id="me/my model")
