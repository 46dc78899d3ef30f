"""Imports run one way, and the cheap ones stay cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hf_ser

PACKAGE = Path(hf_ser.__file__).parent
ROAD = ["_version", "errors", "labels", "text", "files", "remote", "processes", "cache", "corpora", "dataset", "audio",
        "models", "inference", "evaluation", "hub", "training", "quickstart", "cli"]  # fmt: skip
TOP = {"__init__", "__main__"}


def room(name: str) -> str:
    first = name.split(".")[1] if "." in name else "__init__"
    return "cli" if first.startswith("cli") else first


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hf_ser"):
            found.add(room(node.module if "." in node.module else f"{node.module}.{node.names[0].name}"))
        if isinstance(node, ast.Import):
            found |= {room(name.name) for name in node.names if name.name.startswith("hf_ser.")}
    return found


def test_every_package_knows_only_those_before_it():
    for file in PACKAGE.rglob("*.py"):
        relative = file.relative_to(PACKAGE)
        here = relative.parts[0].removesuffix(".py")
        here = "cli" if here.startswith("cli") else here
        if here in TOP:
            continue
        assert here in ROAD, f"{relative} is in no room of the road"
        for other in imports(file):
            assert other in ROAD, f"{relative} imports hf_ser.{other}, which is in no room of the road"
            assert ROAD.index(other) <= ROAD.index(here), f"{relative} imports hf_ser.{other}, which comes after it"


@pytest.mark.parametrize(
    "statement",
    [
        "import hf_ser.labels, hf_ser.corpora, hf_ser.dataset.splits, hf_ser.hub.card, hf_ser.hub.card_merge",
        "from hf_ser.evaluation.metrics.eer import equal_error_rate",
        "from hf_ser.evaluation.scores import evaluate_scores",
        "import hf_ser.cli",
    ],
)
def test_what_must_stay_light_does(statement):
    code = f"{statement}\nimport sys\nprint(*(name for name in ('torch', 'transformers') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_importing_the_package_imports_no_dependency():
    code = "import sys; before = set(sys.modules); import hf_ser; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported <= {"hf_ser"} | set(sys.stdlib_module_names)


def test_every_public_name_is_there_documented_and_has_an_example():
    for name in hf_ser.__all__:
        value = getattr(hf_ser, name)
        if callable(value):
            assert value.__doc__, name
            holder = value.__doc__ + str(getattr(value.__init__, "__doc__", "") or "")
            assert ">>>" in holder or name in {"Classifier", "FinetuneResult"}, f"{name} has no example"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'finetuen'"):
        getattr(hf_ser, "finetuen")  # noqa: B009 - the point of the test
