"""A metric as a Space: its files, `evaluate.load` on it, its page, and refused pushes."""

import json
import subprocess
import sys

import pytest
import yaml

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics import METRICS
from hf_ser.hub.blocks import combine
from hf_ser.hub.metric_space import metric_space_files
from hub_server.cards import validate
from pushing import Pusher

LABELS = {"predictions": [0, 1, 1, 2], "references": [0, 0, 1, 2]}
SCORES = {
    "predictions": [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]],
    "references": [0, 0, 1, 2],
}
INPUTS = {name: SCORES if name == "eer" else LABELS for name in METRICS}
# Users of a metric need neither this library nor torch.
WITHOUT_US = """
from importlib.machinery import PathFinder
installed = PathFinder.find_spec
absent = ("hf_ser", "torch", "transformers")
PathFinder.find_spec = staticmethod(
    lambda name, *path: None if name.partition(".")[0] in absent else installed(name, *path)
)
"""
LOAD = f"""{WITHOUT_US}
import doctest, json, sys
import evaluate
from huggingface_hub import hf_hub_download

found = {{}}
for repo_id, columns in json.loads(sys.argv[1]).items():
    metric = evaluate.load(repo_id)
    found[repo_id] = {{"name": metric.name, "value": metric.compute(**columns)}}
    card = hf_hub_download(repo_id, "README.md", repo_type="space")
    found[repo_id]["card"] = list(doctest.testfile(card, module_relative=False))
assert not any(name.startswith("hf_ser") for name in sys.modules)
print(json.dumps(found))
"""
HERE = """
import json, sys
from hf_ser.evaluation.metrics import load_metric

print(json.dumps({name: load_metric(name).compute(**columns) for name, columns in json.loads(sys.argv[1]).items()}))
"""
# A stand-in for gradio that records what is built and returns the button's function.
STUB = """
class Error(Exception):
    def __init__(self, message, print_exception=True):
        super().__init__(message)

class Component:
    built, clicked = [], []
    def __init__(self, value=None, **options):
        self.value, self.label = value, options.get("label")
        self.built.append(self)
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
    def click(self, function, inputs, output, **options):
        self.clicked.append((function, inputs))

Blocks = Row = Column = Markdown = Textbox = Number = Button = JSON = Component
"""
PAGE = f"""{WITHOUT_US}
import json, runpy, sys

found = {{}}
for name, columns in json.loads(sys.argv[2]).items():
    sys.path.insert(0, sys.argv[1])
    import gradio
    gradio.Component.built.clear()
    gradio.Component.clicked.clear()
    app = runpy.run_path(f"{{sys.argv[1]}}/{{name}}/app.py")
    app["page"]()
    ((answer, fields),) = gradio.Component.clicked

    def refused(*texts):
        try:
            return answer(*texts)
        except gradio.Error as error:
            return str(error)

    rows = columns["predictions"]
    lines = "\\n".join(" ".join(map(str, row)) if isinstance(row, list) else f"{{row}};" for row in rows)
    more = [0] if len(fields) == 3 else []
    found[name] = {{
        "example": answer(*(field.value for field in fields)),
        "json": answer(json.dumps(rows), json.dumps(columns["references"]), *more),
        "lines": answer(lines + "\\n", " 0, 0\\n1 2 ", *more),
        "fields": [field.label for field in fields],
        "shown": [part.value for part in gradio.Component.built if isinstance(part.value, str)],
        "refused": [
            refused("", "0 1", *more),
            refused("0.1 angry", "0 1", *more),
            refused(json.dumps(rows), "[0, 1]", *more),
            refused(json.dumps(rows), "[0, 1, 2, -1]", *more),
            refused("7", "[0]", *more),
            refused("{{}}", "[0]", *more),
            refused("[[1, 2], [3]]", "[0, 1]", *more),
            refused("[1e999, NaN]", "[0, 1]", *more),
        ],
    }}
    if more:
        found[name]["more classes"] = answer("0 1", "0 1", 4)
        found[name]["refused"].append(refused("0 5", "0 1", 3))
print(json.dumps(found))
"""


# A client at the command line, for several commands.
COMMANDS = """
import contextlib, io, json, sys, time

time.sleep = lambda seconds: None
from hf_ser.cli import main

for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(json.loads(line))
    print("TOLD", json.dumps([code, out.getvalue(), error.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def alice(hub):
    with Pusher(hub, hub.token("alice"), COMMANDS) as pusher:
        yield pusher


@pytest.fixture(scope="module")
def ids(hub, alice) -> dict[str, str]:
    """Every metric pushed by alice, one of them under another name: the ids of the Spaces."""
    ids = {name: f"alice/{name}" for name in METRICS} | {"eer": "alice/my-eer_2"}
    for name, repo_id in ids.items():
        code, printed, error = alice.ask(["push-metric", name, repo_id])
        assert (code, error) == (0, "")
        commit = hub.commits(repo_id, kind="space")[0].id
        assert printed == f'{hub.endpoint}/spaces/{repo_id}: commit {commit}\nevaluate.load("{repo_id}")\n'
    return ids


def test_a_push_is_private_whole_and_made_once(hub, alice, ids):
    for name, repo_id in ids.items():
        files = metric_space_files(name, repo_id)
        assert hub.repo(repo_id, kind="space").private
        files["README.md"] = combine(files["README.md"].decode(), None).encode()
        held = hub.files(repo_id, kind="space")
        assert {path: content for path, content in held.items() if path != ".gitattributes"} == files
    before = hub.commits(ids["uar"], kind="space")
    assert alice.ask(["push-metric", "uar", ids["uar"]])[1].splitlines()[0].endswith("unchanged, no commit")
    assert hub.commits(ids["uar"], kind="space") == before


def test_at_the_command_line_a_refusal_is_one_line(hub, alice):
    def refused(pusher, *words):
        code, printed, error = pusher.ask(["push-metric", *words])
        assert (code, printed) == (2, "")
        assert error.startswith("hf-ser push-metric: ")
        assert error.count("\n") == 1
        return error

    spaces = hub.repos("space")
    assert "metric 'wer' is unknown; choose accuracy" in refused(alice, "wer", "alice/wer")
    assert "evaluate imports it by its name" in refused(alice, "eer", "alice/my.eer")
    assert "evaluate imports it by its name" in refused(alice, "eer", "eer")
    assert "cannot hold a metric" in refused(alice, "eer", "alice/app")
    assert "is not a valid repository id" in refused(alice, "eer", "alice/-eer-")
    assert "the token lacks permission" in refused(alice, "eer", "bob/eer")
    with hub.fault(503, count=None):
        assert "the Hub fails at the moment (503)" in refused(alice, "eer", "alice/eer")
    with Pusher(hub, None, COMMANDS) as nobody:
        assert "not logged in" in refused(nobody, "eer", "alice/eer")
    with Pusher(hub, hub.token("alice", "read"), COMMANDS) as reader:
        assert "it needs write access" in refused(reader, "eer", "alice/eer")
    assert hub.repos("space") == spaces


def test_evaluate_loads_every_metric_and_again_without_the_hub(hub, ids, tmp_path):
    inputs = json.dumps({ids[name]: columns for name, columns in INPUTS.items()})
    here = json.loads(hub.run(HERE, json.dumps(INPUTS)))
    online = {"token": hub.token("alice"), "home": tmp_path / "home", "cwd": tmp_path}
    loaded = json.loads(hub.run(LOAD, inputs, **online).splitlines()[-1])
    for name, repo_id in ids.items():
        assert loaded[repo_id]["name"] == name
        assert loaded[repo_id]["value"] == here[name]
        failed, attempted = loaded[repo_id]["card"]
        assert failed == 0
        assert attempted >= 3
    # Nothing answers at this address.
    offline = {**online, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "token": None}
    assert json.loads(hub.run(LOAD, inputs, **offline).splitlines()[-1]) == loaded


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spaces")
    (folder / "gradio.py").write_text(STUB)
    for name in METRICS:
        (folder / name).mkdir()
        for path, content in metric_space_files(name, f"me/{name}").items():
            (folder / name / path).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", PAGE, str(folder), json.dumps(INPUTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", METRICS)
def test_the_page_computes_what_is_pasted_and_says_what_is_wrong(pages, name):
    page = pages[name]
    assert page["json"] == page["lines"]
    assert page["example"].keys() == page["json"].keys()
    if name == "accuracy":
        assert page["json"] == {"accuracy": 0.75}
        assert page["example"] == {"accuracy": 0.75}
    if name == "eer":
        assert page["json"]["eer_micro"] == 0.25
    assert any("## Limitations" in text and "sdk: gradio" not in text for text in page["shown"])
    for message in page["refused"]:
        assert isinstance(message, str), message
        assert message
        assert "\n" not in message
    assert page["refused"][0].startswith("predictions are empty")
    assert page["refused"][1].startswith("predictions hold 'angry', which is not a number")
    assert ("num_classes" in page["fields"]) == (name != "eer")
    if name == "confusion":
        assert len(page["more classes"]["counts"]) == 4


@pytest.mark.parametrize("name", METRICS)
def test_the_space_is_whole(name):
    files = metric_space_files(name, f"me/my_{name}")
    assert set(files) == {"README.md", "app.py", "requirements.txt", f"my_{name}.py", "counts.py"}
    card = files["README.md"].decode()
    assert validate(card, "space") == ([], [])
    front_matter = yaml.safe_load(card.split("---\n")[1])
    assert {"sdk": "gradio", "app_file": "app.py"}.items() <= front_matter.items()
    assert f'evaluate.load("me/my_{name}")' in card
    # A link to a neighbouring folder leads nowhere on the Hub.
    assert "../" not in card
    assert '"./' not in card
    assert f'"my_{name}.py"' in files["app.py"].decode()
    assert "{{" not in files["app.py"].decode()
    compile(files["app.py"], "app.py", "exec")


@pytest.mark.parametrize("repo_id", ["eer", "me/my.eer", "me.us/eer", "a/b/c", "me/", "me/../x", "me/eer.py", "me/é"])
def test_a_name_that_evaluate_cannot_import_is_refused(repo_id):
    with pytest.raises(InputError, match="cannot hold a metric: evaluate imports it by its name"):
        metric_space_files("eer", repo_id)


@pytest.mark.parametrize("name", ["app", "counts"])
def test_the_names_of_other_files_are_taken(name):
    with pytest.raises(InputError, match=rf"the Space has another {name}\.py"):
        metric_space_files("eer", f"me/{name}")
