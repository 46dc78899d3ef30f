"""The metrics as `evaluate` modules: alone, offline, in a fresh process; and hf_ser without `evaluate`."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hf_ser.evaluation.metrics as metrics
from hf_ser.errors import InputError
from hf_ser.evaluation.metrics import METRICS, load_metric, metric_files
from hub_server.cards import front_matter, validate

FOLDER = Path(metrics.__file__).parent
LABELS = {"predictions": [0, 1, 1, 2], "references": [0, 0, 1, 2]}
SCORES = {
    "predictions": [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]],
    "references": [0, 0, 1, 2],
}
EXPECTED = {
    "accuracy": {"accuracy": 0.75},
    "uar": {"uar": 2.5 / 3},
    "f1": {"f1_micro": 0.75, "f1_macro": 7 / 9, "f1_weighted": 0.75},
    "eer": {"eer_macro": (1 / 2 + 1 / 3) / 3, "eer_micro": 0.25, "eer_per_class": [1 / 2, 1 / 3, 0.0]},
    "paper_eer": {"paper_eer": (0.25 + 1 / 6 + 0) / 3},
    "confusion": {"counts": [[1, 1, 0], [0, 1, 0], [0, 0, 1]], "row_percent": [[50, 50, 0], [0, 100, 0], [0, 0, 100]]},
}

IN_A_FRESH_PROCESS = """
import doctest, json, shutil, socket, sys
from importlib.machinery import PathFinder
from pathlib import Path

def refuse(*_):
    raise AssertionError("a metric asked the network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
# A metric needs neither; evaluate works where they are not installed, and starts much faster.
installed = PathFinder.find_spec
PathFinder.find_spec = lambda name, *path: None if name in ("torch", "transformers") else installed(name, *path)
import evaluate
import numpy as np

folder, inputs = Path(sys.argv[1]), json.loads(sys.argv[2])
found = {}

def message(metric, **columns):
    try:
        metric.compute(**columns)
    except ValueError as error:
        return str(error)

def loaded(name):
    return evaluate.load(str(folder / f"{name}.py"))

for name, columns in inputs.items():
    # As a folder of that name (a clone of its Space), and as the file of this library.
    space = Path(sys.argv[3]) / name
    space.mkdir()
    for file in (f"{name}.py", "counts.py"):
        shutil.copy(folder / file, space)
    metric = evaluate.load(str(space))
    arrays = {key: np.array(values) for key, values in columns.items()}
    halves = loaded(name)
    for half in (slice(0, 1), slice(1, None)):
        halves.add_batch(**{key: values[half] for key, values in arrays.items()})
    found[name] = {
        "name": metric.name,
        "card": bool(metric.description and metric.citation and metric.inputs_description),
        "lists": metric.compute(**columns),
        "arrays": metric.compute(**arrays),
        "batches": halves.compute(),
        "out of range": message(metric, predictions=columns["predictions"], references=[0, 0, 1, -1]),
        "nan": message(metric, predictions=(arrays["predictions"] * np.nan).tolist(), references=[0, 0, 1, 2]),
    }
found["not truncated"] = message(loaded("accuracy"), predictions=[0.9, 0.2], references=[0, 1])
found["bounded"] = message(loaded("accuracy"), predictions=[0, 3], references=[0, 1], num_classes=3)
found["undefined"] = [
    loaded("confusion").compute(predictions=[0, 1], references=[0, 0], num_classes=2),
    loaded("eer").compute(predictions=[[0.9, 0.1], [0.8, 0.2]], references=[0, 0]),
    loaded("paper_eer").compute(predictions=[0, 1], references=[0, 0]),
]
combined = evaluate.combine([loaded(name) for name in ("accuracy", "uar", "f1")]).compute(**inputs["uar"])
found["combined"] = sorted(combined)
found["imported"] = [name for name in sys.modules if name.partition(".")[0] in ("hf_ser", "torch", "transformers")]
found["cards"] = [list(doctest.testfile(str(folder / f"{name}.md"), module_relative=False)) for name in inputs]
from hf_ser.evaluation.metrics import load_metric
found["by name"] = load_metric("uar", experiment_id="x").compute(**inputs["uar"])
print(json.dumps(found, allow_nan=False))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    inputs = {name: SCORES if name == "eer" else LABELS for name in METRICS}
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path_factory.mktemp("hf_home"))}
    # Any of these would lead back to a cache that other runs have filled.
    for name in ("HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE", "HF_DATASETS_CACHE"):
        environment.pop(name, None)
    arguments = (FOLDER, json.dumps(inputs), tmp_path_factory.mktemp("spaces"))
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, *map(str, arguments)]
    finished = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", METRICS)
def test_computes_from_lists_arrays_and_batches_and_refuses_in_one_line(loaded, name):
    found = loaded[name]
    for way in ("lists", "arrays", "batches"):
        assert found[way].keys() == EXPECTED[name].keys()
        for key, value in EXPECTED[name].items():
            assert found[way][key] == (pytest.approx(value, abs=1e-15) if isinstance(value, float) else value)
    assert found["name"] == name
    assert found["card"]
    assert "references contain -1" in found["out of range"]
    assert "nan" in found["nan"].lower()
    assert "\n" not in found["out of range"] + found["nan"]


def test_scores_are_not_truncated_to_labels_and_undefined_values_are_null(loaded):
    assert loaded["not truncated"].startswith("predictions contain 0.9, not a class index")
    assert loaded["bounded"].endswith("give whole numbers from 0 to 2")
    assert loaded["undefined"] == [
        {"counts": [[1, 1], [0, 0]], "row_percent": [[50, 50], [None, None]]},
        {"eer_macro": None, "eer_micro": 0.0, "eer_per_class": [None, None]},
        {"paper_eer": None},
    ]


def test_combines_and_needs_neither_this_library_nor_torch(loaded):
    assert loaded["combined"] == ["accuracy", "f1_macro", "f1_micro", "f1_weighted", "uar"]
    assert loaded["imported"] == []
    assert loaded["by name"] == loaded["uar"]["lists"]


def test_the_cards_examples_run(loaded):
    assert [(failed, attempted >= 3) for failed, attempted in loaded["cards"]] == [(0, True)] * len(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_the_card_is_accepted_as_that_of_a_metric_space(name):
    card = metric_files(name)["README.md"].read_text(encoding="utf-8")
    assert validate(card, "space") == ([], [])
    data = front_matter(card)
    # What https://huggingface.co/evaluate-metric and `evaluate-cli create` give every metric.
    assert (data["sdk"], data["pinned"], data["license"]) == ("gradio", False, "apache-2.0")
    assert data["tags"][:2] == ["evaluate", "metric"]
    assert data["title"]
    assert data["description"]
    body = card.partition("\n---\n")[2].lstrip()
    assert body.startswith("# Metric card")
    for section in ("## Description", "## How to use", "### Inputs", "### Output", "## Limitations", "## Citation"):
        assert f"\n{section}\n" in body


def test_every_metric_is_listed_and_an_unknown_name_refused():
    assert {path.stem for path in FOLDER.glob("*.md")} == set(METRICS)
    assert {path.stem for path in FOLDER.glob("*.py")} == {*METRICS, "__init__", "counts"}
    with pytest.raises(InputError, match="metric 'wer' is unknown; choose accuracy"):
        load_metric("wer")


def test_imports_as_evaluate_reads_them():
    """evaluate finds the imports by line: of "import a, b" it would ask to install "a,"; it follows only `.name`."""
    imported = set()
    for name in (*METRICS, "counts"):
        for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
            if isinstance(node, ast.Import):
                assert len(node.names) == 1
                imported.add(node.names[0].name.partition(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert (node.level, node.module) == (1, "counts") or not node.level
                imported.add(node.module.partition(".")[0])
    assert imported == {"numpy", "datasets", "evaluate", "typing", "collections", "counts"}
