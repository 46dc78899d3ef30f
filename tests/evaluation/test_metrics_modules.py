"""The metric folders as `evaluate` modules: alone, offline, in a fresh process; and hf_ser without `evaluate`."""

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
    "confusion": {
        "counts": [[1, 1, 0], [0, 1, 0], [0, 0, 1]],
        "row_percent": [[50, 50, 0], [0, 100, 0], [0, 0, 100]],
    },
}

IN_A_FRESH_PROCESS = """
import doctest, json, socket, sys
from importlib.machinery import PathFinder
from pathlib import Path

def refuse(*_):
    raise AssertionError("a metric asked the network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
# A metric needs neither; evaluate goes on where they are not installed, and starts much faster.
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

for name, columns in inputs.items():
    # As a folder of that name (a clone of its Space), and as the file of this library.
    space = Path(sys.argv[3]) / name
    space.mkdir()
    for file in (f"{name}.py", "counts.py"):
        (space / file).write_text((folder / file).read_text())
    metric = evaluate.load(str(space))
    arrays = {key: np.array(values) for key, values in columns.items()}
    halves = evaluate.load(str(folder / f"{name}.py"), keep_in_memory=True)
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
        "lengths": message(metric, predictions=columns["predictions"], references=[0, 0, 1]),
    }
labels = evaluate.load(str(folder / "accuracy.py"))
found["not truncated"] = message(labels, predictions=[0.9, 0.2], references=[0, 1])
found["bounded"] = message(labels, predictions=[0, 3], references=[0, 1], num_classes=3)
found["empty row"] = evaluate.load(str(folder / "confusion.py")).compute(
    predictions=[0, 1], references=[0, 0], num_classes=2)
found["one class"] = [
    evaluate.load(str(folder / "eer.py")).compute(predictions=[[0.9, 0.1], [0.8, 0.2]], references=[0, 0]),
    evaluate.load(str(folder / "paper_eer.py")).compute(predictions=[0, 1], references=[0, 0]),
]
combined = evaluate.combine([evaluate.load(str(folder / f"{name}.py")) for name in ("accuracy", "uar", "f1")])
found["combined"] = combined.compute(**inputs["uar"])
found["stand-alone"] = not any(name.partition(".")[0] == "hf_ser" for name in sys.modules)
found["light"] = not {"torch", "transformers"} & set(sys.modules)
found["cards"] = {
    name: list(doctest.testfile(str(folder / f"{name}.md"), module_relative=False)) for name in inputs
}
from hf_ser.evaluation.metrics import load_metric
found["by name"] = load_metric("uar", experiment_id="x").compute(**inputs["uar"])
print(json.dumps(found, allow_nan=False))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    inputs = {name: SCORES if name == "eer" else LABELS for name in METRICS}
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path_factory.mktemp("hf_home")),
    }
    # Any of these would lead back to a cache that other runs have filled.
    for name in ("HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE", "HF_DATASETS_CACHE"):
        environment.pop(name, None)
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            IN_A_FRESH_PROCESS,
            str(FOLDER),
            json.dumps(inputs),
            str(tmp_path_factory.mktemp("spaces")),
        ],
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", METRICS)
def test_computes_from_lists_arrays_and_batches(loaded, name):
    for way in ("lists", "arrays", "batches"):
        for key, value in EXPECTED[name].items():
            assert loaded[name][way].keys() == EXPECTED[name].keys()
            if isinstance(value, float):
                assert loaded[name][way][key] == pytest.approx(value, abs=1e-15)
            else:
                assert loaded[name][way][key] == value
    assert loaded[name]["name"] == name
    assert loaded[name]["card"]


@pytest.mark.parametrize("name", METRICS)
def test_refuses_in_one_line(loaded, name):
    assert "references contain -1" in loaded[name]["out of range"]
    assert "nan" in loaded[name]["nan"].lower()
    assert "Mismatch in the number of predictions (4) and references (3)" in loaded[name]["lengths"]
    for kind in ("out of range", "nan"):
        assert "\n" not in loaded[name][kind]


def test_scores_are_not_truncated_to_labels(loaded):
    assert loaded["not truncated"].startswith("predictions contain 0.9, not a class index")
    assert loaded["bounded"].endswith("give whole numbers from 0 to 2")


def test_undefined_values_are_null(loaded):
    assert loaded["empty row"] == {"counts": [[1, 1], [0, 0]], "row_percent": [[50, 50], [None, None]]}
    assert loaded["one class"] == [
        {"eer_macro": None, "eer_micro": 0.0, "eer_per_class": [None, None]},
        {"paper_eer": None},
    ]


def test_combined(loaded):
    assert set(loaded["combined"]) == {"accuracy", "uar", "f1_micro", "f1_macro", "f1_weighted"}


def test_needs_neither_this_library_nor_torch(loaded):
    assert loaded["stand-alone"]
    assert loaded["light"]


@pytest.mark.parametrize("name", METRICS)
def test_the_card_s_example_runs(loaded, name):
    failed, attempted = loaded["cards"][name][:2]
    assert failed == 0
    assert attempted >= 3


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


def test_load_metric_by_name(loaded):
    assert loaded["by name"] == loaded["uar"]["lists"]


def test_load_metric_refuses_an_unknown_name():
    with pytest.raises(InputError, match="metric 'wer' is unknown; choose accuracy"):
        load_metric("wer")


def test_every_metric_is_listed():
    assert {path.stem for path in FOLDER.glob("*.md")} == set(METRICS)
    assert {path.stem for path in FOLDER.glob("*.py")} == {*METRICS, "__init__", "counts"}


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


def test_the_functions_draw_in_no_heavy_library():
    program = """
import sys
from hf_ser.evaluation import intervals, plots, report, scores
from hf_ser.evaluation.metrics.eer import one_vs_rest_eer
one_vs_rest_eer([[0.9, 0.1], [0.2, 0.8]], [0, 1])
test = scores.evaluate_scores([[0.9, 0.1], [0.2, 0.8]], [0, 1], ["a", "b"], ["c"] * 2, ["s", "t"], seed=0)
report.render_report({"part": "test"}, {"labels": ["a", "b"], "test": test})
heavy = {"torch", "transformers", "datasets", "evaluate", "matplotlib", "sklearn", "scipy", "pandas", "pyarrow"}
print(sorted(heavy & set(sys.modules)))
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
