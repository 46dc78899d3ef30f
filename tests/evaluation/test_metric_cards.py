"""The metrics' cards as the Hub takes them for the cards of Spaces."""

from importlib import resources

import pytest

from hf_ser.evaluation.metrics import METRICS
from hub_server.cards import front_matter, validate


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metrics_card_is_accepted_and_found_among_the_metrics(name):
    card = resources.files("hf_ser.evaluation.metrics").joinpath(name, "README.md").read_text(encoding="utf-8")
    assert validate(card, "space") == ([], [])
    data = front_matter(card)
    # What https://huggingface.co/evaluate-metric and `evaluate-cli create` give every metric.
    assert data["sdk"] == "gradio"
    assert data["pinned"] is False
    assert data["tags"][:2] == ["evaluate", "metric"]
    assert data["title"]
    assert data["description"]
    assert card.partition("\n---\n")[2].lstrip().startswith("# Metric card")
    for section in ("## Description", "## How to use", "### Inputs", "### Output", "## Limitations", "## Citation"):
        assert f"\n{section}\n" in card
