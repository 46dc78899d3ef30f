"""A suite on the card of the model that it is of, and `.eval_results` for a data set of the Hub."""

import json

import pytest
import yaml
from runs import write_run

from hf_ser.errors import InputError
from hf_ser.hub.card import render_model_card
from hf_ser.hub.results import results_file, suite_section

SUITE = {
    "sections": {"latency": {"not_computed": "of no interest here"}},
    "checks": [{"section": "fairness", "test": "a", "passed": True, "guessing_passed": True}],
    "seconds": {"latency": 1.0},
}


@pytest.fixture(scope="module")
def run(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "run"
    write_run(folder, encoder(), "full")
    return folder


def records(run):
    return [json.loads((run / name).read_text()) for name in ("run.json", "metrics.json")]


def evaluation(folder, probe, suite=SUITE):
    facts = {
        "part": "test",
        "dataset": {"name": "voices"},
        "protocol": "given",
        "model": {"probe": probe},
        "suite": suite,
    }
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(facts))
    return folder


def test_the_suite_is_on_the_card(run, tmp_path):
    record, metrics = records(run)
    section = suite_section(evaluation(tmp_path / "e", record["probe"]["logits"]), record)
    card = render_model_card(record, metrics, suite=section)
    assert "## Evaluation suite\n\nOn the test part of `voices`, protocol `given`." in card
    assert "| fairness | 1 | 1.00 | 1.00 |" in card
    assert "Evaluation suite" not in render_model_card(record, metrics)


def test_a_suite_of_another_model_or_none_is_refused(run, tmp_path):
    record, _ = records(run)
    other = [[value + 1 for value in row] for row in record["probe"]["logits"]]
    for folder, message in (
        (evaluation(tmp_path / "other", other), "is of another model"),
        (evaluation(tmp_path / "unknown", None), "is of another model"),
        (evaluation(tmp_path / "plain", record["probe"]["logits"], None), "has no suite"),
        (tmp_path / "nowhere", "has no evaluation.json"),
    ):
        with pytest.raises(InputError, match=message):
            suite_section(folder, record)


def test_eval_results_are_of_a_data_set_on_the_hub(run):
    record, metrics = records(run)
    record["dataset"] |= {"name": "alice/voices", "local": False}
    found = yaml.safe_load(results_file(record, metrics))
    assert {entry["dataset"]["id"] for entry in found} == {"alice/voices"}
    values = {entry["dataset"]["task_id"].removeprefix(record["protocol"] + "_"): entry["value"] for entry in found}
    assert values["uar"] == round(metrics["test"]["pooled"]["uar"], 4)
    assert set(values) == {"uar", "accuracy", "f1_macro", "eer"}
    record["dataset"]["local"] = True
    with pytest.raises(InputError, match="eval_results need a data set on the Hub"):
        results_file(record, metrics)
