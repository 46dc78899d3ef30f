"""Imports run one way, and the cheap ones stay cheap."""

import ast
import configparser
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import hf_ser

PACKAGE = Path(hf_ser.__file__).parent
ORDER = ["__version__", "errors", "labels", "text", "files", "sound", "environment", "corpora", "dataset", "audio",
         "models", "inference", "evaluation", "hub", "training", "quickstart", "cli"]  # fmt: skip
TOP = {"__init__", "__main__"}
BUDGETS = {"corpora": 890, "dataset": 3460, "audio": 910, "models": 2320, "inference": 830, "evaluation": 2500,
           "hub": 1495, "training": 1630, "quickstart": 340, "cli": 750}  # fmt: skip
"""The most lines of Python in each package."""


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Return the modules that a file names in its imports, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names if node.module == "hf_ser")}
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_every_package_imports_only_those_before_it():
    for file in PACKAGE.rglob("*.py"):
        here = room_of(file)
        if here in TOP:
            continue
        assert here in ORDER, f"{file} is in no package of the order"
        for other in {name.split(".")[1] for name in imported(file) if name.startswith("hf_ser.")}:
            assert other in ORDER, f"{file} imports hf_ser.{other}, which is in no package of the order"
            assert ORDER.index(other) <= ORDER.index(here), f"{file} imports hf_ser.{other}, which comes after it"


def test_the_package_stays_small():
    lines = {file: len(file.read_text().splitlines()) for file in PACKAGE.rglob("*.py")}
    assert sum(lines.values()) <= 15_877
    assert not {str(file): count for file, count in lines.items() if count > 350}
    for room, most in BUDGETS.items():
        assert sum(count for file, count in lines.items() if room_of(file) == room) <= most, room


def test_private_names_of_other_packages_are_listed_with_their_reason():
    listed = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text().partition("## Private names")[2]
    bases = {"Trainer", "datasets.ArrowBasedBuilder", "evaluate.Metric"}
    trees = [ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    used = [node for node in nodes if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)]
    own |= {node.attr for node in used if isinstance(node.ctx, ast.Store)}
    assert {node.attr for node in used} - own == {"_asdict", "_fields"}, "only what `namedtuple` documents"
    found = set()
    for node in nodes:
        if isinstance(node, ast.ClassDef) and bases & {ast.unparse(base) for base in node.bases}:
            found |= {method.name for method in node.body if isinstance(method, ast.FunctionDef)}
    private = {name for name in found if re.match("_[a-z]", name)}
    assert len(private) >= 5
    assert not {name for name in private if f"`{name}`" not in listed and f".{name}`" not in listed}


def test_every_library_that_is_imported_is_declared():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parents[1] / "setup.cfg")
    extras = settings["options.extras_require"]
    wanted = settings["options"]["install_requires"] + extras["av"] + extras["egemaps"]
    declared = {line.split()[0] for line in wanted.split("\n") if line}
    used = {name.partition(".")[0] for file in PACKAGE.rglob("*.py") for name in imported(file)}
    names = {"sklearn": "scikit-learn", "yaml": "pyyaml", "markdown_it": "markdown-it-py"}
    used = {names.get(name, name) for name in used - {"hf_ser"} - set(sys.stdlib_module_names)}
    assert used == declared


@pytest.mark.parametrize(
    "statement",
    [
        "import hf_ser.labels, hf_ser.corpora, hf_ser.dataset.splits, hf_ser.hub.card",
        "from hf_ser.evaluation.metrics.eer import equal_error_rate",
        "from hf_ser.evaluation.scores import evaluate_scores",
        "import hf_ser.cli",
    ],
)
def test_what_must_stay_light_does(statement):
    code = f"{statement}\nimport sys\nprint(*(name for name in ('torch', 'transformers') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("words", "seconds"), [(["-c", "import hf_ser"], 0.15), (["-m", "hf_ser", "--help"], 0.4)])
def test_it_starts_at_once(words, seconds):
    took = []
    for _ in range(5):
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor seconds: other work on the machine does not lengthen them.
        took.append(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime)
    assert min(took) < seconds


PUBLIC = """EMOTIONS RECIPES Augmentation Classifier Evaluation FinetuneResult HubError InputError Recipe __version__
    benchmark build_dataset check_dataset compare evaluate finetune load open_dataset publish_dataset push_metric
    push_to_hub recipe register_corpus register_recipe summarize training_arguments"""


def test_the_public_names():
    assert sorted(hf_ser.__all__) == sorted(PUBLIC.split())
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    typed = {name.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert typed | {"__version__"} == set(hf_ser.__all__), "the names that type checkers see are those that there are"


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
            assert ">>>" in holder or name in {"Classifier", "Evaluation", "FinetuneResult"}, f"{name} has no example"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'finetuen'"):
        getattr(hf_ser, "finetuen")  # noqa: B009 - the point of the test
