"""A model's files from the loopback Hub: one commit, kept for offline use; faults are retried or reported."""

import json
from pathlib import Path

import pytest

from hf_ser.errors import InputError
from hf_ser.models.encoders import open_config
from hf_ser.models.snapshot import Snapshot, open_snapshot

CONFIG = json.dumps({"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]})
SMALL = {"config.json": CONFIG, "preprocessor_config.json": "{}"}
FILES = {
    **SMALL,
    "model.safetensors": b"\0weights",
    "README.md": "# Mine",
    "modeling.py": "raise",
    "optimizer.pt": b"\0",
}
INDEX = '{"weight_map": {"a": "%s"}}'
ADAPTER = {**SMALL, "adapter_config.json": "{}", "adapter_model.safetensors": b"\0weights"}

# Reads each case in its own thread and cache, and prints the results. Waits are cut short.
READ = """
import json, logging, sys, time
from concurrent.futures import ThreadPoolExecutor
from hf_ser import InputError
from hf_ser.models.snapshot import open_snapshot

sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.02))
warnings = []
handler = logging.Handler()
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("hf_ser").addHandler(handler)


def refuse(snapshot):
    files = sorted(file.name for file in snapshot.folder.iterdir())
    raise InputError(f"'{snapshot.name}' is refused: {', '.join(files)}")


def read(case):
    if case.pop("refuse", False):
        case["inspect"] = refuse
    try:
        found = open_snapshot(**case)
    except InputError as error:
        return {"error": str(error)}
    return {"commit": found.commit, "files": sorted(file.name for file in found.folder.iterdir())}


cases = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(cases)) as pool:
    answers = dict(zip(cases, pool.map(read, cases.values())))
heavy = sorted({"torch", "transformers"} & set(sys.modules))
print(json.dumps({"answers": answers, "warnings": warnings, "modules": heavy}))
"""


def read(hub, cases, **how):
    """Return what came of cases, each the arguments of `open_snapshot`."""
    how = {"HF_HUB_ETAG_TIMEOUT": "1", "token": hub.token("alice", "read"), **how}
    seen = json.loads(hub.run(READ, json.dumps(cases), **how).splitlines()[-1])
    assert seen["modules"] == []
    for answer in seen["answers"].values():
        if "error" in answer:
            assert "\n" not in answer["error"]
            assert "Token" not in answer["error"]
    return seen


# --- faults ---

RESOLVE, TREE, FILE = "/api/models/{}", "/api/models/{}/tree/*", "/{}/resolve/*/config.json"
# name: (fault, path, words of the error; None where the file is there in the end)
FAULTS = {
    "429-resolve": ({"kind": 429, "retry_after": 0}, RESOLVE, None),
    "503-resolve": ({"kind": 503, "retry_after": 1}, RESOLVE, None),
    "slow-resolve": ({"kind": "slow", "seconds": 3}, RESOLVE, None),
    "500-tree": ({"kind": 500}, TREE, None),
    "truncate-tree": ({"kind": "truncate"}, TREE, None),
    "503-head": ({"kind": 503, "method": "HEAD"}, FILE, None),
    "slow-head": ({"kind": "slow", "method": "HEAD", "seconds": 3}, FILE, None),
    "drop-get": ({"kind": "drop", "method": "GET"}, FILE, None),
    "truncate-get": ({"kind": "truncate", "method": "GET"}, FILE, None),
    "429-ever": ({"kind": 429, "count": None, "retry_after": 0}, RESOLVE, "limits the rate of requests (429)"),
    "500-ever": ({"kind": 500, "count": None}, RESOLVE, "the Hub fails at the moment (500); try again later"),
    "drop-ever": ({"kind": "drop", "count": None}, RESOLVE, "the Hub cannot be reached"),
    "slow-ever": ({"kind": "slow", "count": None, "seconds": 3}, RESOLVE, "the Hub cannot be reached"),
    "500-head-ever": ({"kind": 500, "count": None, "method": "HEAD"}, FILE, "the Hub fails at the moment (500)"),
    "429-get-ever": (
        {"kind": 429, "count": None, "method": "GET", "retry_after": 0},
        FILE,
        "limits the rate of requests (429)",
    ),
    "drop-get-ever": ({"kind": "drop", "count": None, "method": "GET"}, FILE, "the connection to the Hub failed"),
    "truncate-get-ever": (
        {"kind": "truncate", "count": None, "method": "GET"},
        FILE,
        "the connection to the Hub failed",
    ),
}


@pytest.fixture(scope="module")
def struck(hub, tmp_path_factory):
    caches = tmp_path_factory.mktemp("caches")
    faults, cases = {}, {}
    for name, (fault, path, _) in FAULTS.items():
        id = f"alice/read-{name}"
        hub.create(id, FILES, private=True)
        faults[name] = hub.fault(**fault, path=path.format(id))
        cases[name] = {"source": id, "cache_dir": str(caches / name)}
    answers = read(hub, cases)["answers"]
    hub.clear_faults()
    return {"answers": answers, "hits": {name: len(fault.hits) for name, fault in faults.items()}, "caches": caches}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_retried_or_reported_in_one_line(hub, struck, name):
    fault, _, words = FAULTS[name]
    answer, id = struck["answers"][name], f"alice/read-{name}"
    if words is None:
        assert struck["hits"][name] == fault.get("count", 1)
        assert answer == {
            "commit": hub.commits(id)[0].id,
            "files": ["config.json", "model.safetensors", "preprocessor_config.json"],
        }
    else:
        assert 2 <= struck["hits"][name] < 40
        assert answer["error"].startswith(f"model '{id}': ")
        assert words in answer["error"]


def test_no_token_is_left_in_a_cache(hub, struck):
    token = hub.token("alice", "read").encode()
    files = [file for file in struck["caches"].rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if token in file.read_bytes()]


# --- refusals ---


def test_what_cannot_be_read_says_why_and_the_way_out(hub, tmp_path):
    hub.create("bob/secret", FILES, private=True)
    hub.create("bob/gated", FILES).gated = "auto"
    hub.create("alice/open", FILES)
    hub.create("alice/no-config", {"model.safetensors": b"\0"})
    hub.create("alice/no-preprocessor", {"config.json": CONFIG, "model.safetensors": b"\0"})
    hub.create("alice/no-weights", SMALL)
    hub.create("alice/pickles", {**SMALL, "pytorch_model.bin": b"\0", "training_args.bin": b"\0"})
    hub.create("alice/pickled-adapter", {**SMALL, "adapter_config.json": "{}", "adapter_model.bin": b"\0"})
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    shards = {**SMALL, "model.safetensors.index.json": index, "model-00001-of-00002.safetensors": b"\0"}
    hub.create("alice/half", shards)
    hub.create("alice/halves", {**shards, "model-00002-of-00002.safetensors": b"\0"})
    hub.create("alice/bare-adapter", {"adapter_config.json": "{}", "adapter_model.safetensors": b"\0"})
    expected = {
        "no such folder here": ({"source": "./nowhere"}, "there is no such folder; give a folder with config.json"),
        "nowhere": ({"source": "alice/nowhere"}, "no such folder here, and on the Hub: no such repository"),
        "private": ({"source": "bob/secret"}, "or it is private; check the id, or run `hf auth login`"),
        "gated": ({"source": "bob/gated"}, "the repository is gated; request access on its page"),
        "revision": ({"source": "alice/open", "revision": "v9"}, "revision 'v9' does not exist; name a branch"),
        "commit": ({"source": "alice/open", "revision": "0" * 40}, f"revision '{'0' * 40}' does not exist"),
        "token": ({"source": "alice/open", "token": "hf_wrongwrongToken"}, "the token was rejected; run"),
        "no config": ({"source": "alice/no-config"}, "model 'alice/no-config' holds no config.json; give a folder"),
        "no preprocessor": ({"source": "alice/no-preprocessor"}, "holds no preprocessor_config.json"),
        "no weights": ({"source": "alice/no-weights"}, "holds no model.safetensors"),
        "pickles": ({"source": "alice/pickles"}, "holds its weights only as a pickle (pytorch_model.bin)"),
        "pickled adapter": ({"source": "alice/pickled-adapter"}, "only as a pickle (adapter_model.bin)"),
        "half": ({"source": "alice/half"}, "holds no model-00002-of-00002.safetensors"),
        "bare adapter": ({"source": "alice/bare-adapter"}, "is an adapter without a config.json that names its labels"),
    }  # fmt: skip
    cases = {name: {**case, "cache_dir": str(tmp_path / name)} for name, (case, _) in expected.items()}
    cases["halves"] = {"source": "alice/halves", "cache_dir": str(tmp_path / "halves")}
    cases["refused"] = {"source": "alice/open", "refuse": True, "cache_dir": str(tmp_path / "refused")}
    cases["small"] = {"source": "alice/no-weights", "weights": False, "cache_dir": str(tmp_path / "small")}
    answers = read(hub, cases)["answers"]
    for name, (_, words) in expected.items():
        assert words in answers[name].get("error", "no error"), name
    assert len(answers["halves"]["files"]) == 5
    assert answers["small"]["files"] == sorted(SMALL)
    # Before any weights are fetched, and in its own words.
    assert answers["refused"]["error"] == "'alice/open' is refused: config.json, preprocessor_config.json"
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".bin", ".pt", ".py")]


# --- one commit ---

MOVES = """
import itertools, json
import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi
from hf_ser.models.snapshot import open_snapshot

fetch, numbers = huggingface_hub.snapshot_download, itertools.count()

def moved(*arguments, **named):
    at = str(next(numbers)).encode()
    files = {"config.json": b'{"at": "%s"}' % at, "model.safetensors": at}
    HfApi().create_commit("alice/moves", [CommitOperationAdd(*it) for it in files.items()], commit_message="Move")
    return fetch(*arguments, **named)

huggingface_hub.snapshot_download = moved
found = open_snapshot("alice/moves")
weights = (found.folder / "model.safetensors").read_text()
print(json.dumps([next(numbers), found.read_json("config.json")["at"], weights]))
"""


def test_no_reader_mixes_two_commits(hub):
    """Somebody pushes before each request for files."""
    hub.create("alice/moves", {**SMALL, "config.json": '{"at": "first"}', "model.safetensors": b"first"})
    pushes, of_config, of_weights = json.loads(hub.run(MOVES, token=hub.token("alice")).splitlines()[-1])
    assert pushes == 2
    assert of_config == of_weights == "0"


# --- without a connection ---


def test_what_was_loaded_once_needs_no_connection(hub, tmp_path):
    hub.create("alice/kept", FILES)
    hub.create("alice/other", FILES)
    first = hub.commits("alice/kept")[0].id
    hub.repo("alice/kept").tags["v1"] = first
    cases = {
        "main": {"source": "alice/kept"},
        "tag": {"source": "alice/kept", "revision": "v1"},
        "commit": {"source": "alice/kept", "revision": first},
    }
    everything = {**cases, "never": {"source": "alice/other"}, "branch": {"source": "alice/kept", "revision": "v2"}}
    online = read(hub, cases, home=tmp_path)["answers"]
    assert {answer["commit"] for answer in online.values()} == {first}
    hub.commit("alice/kept", {"config.json": CONFIG + " "})
    before = len(hub.requested(path="*alice/kept*"))
    again = read(hub, {"commit": cases["commit"]}, home=tmp_path)
    assert again["answers"]["commit"] == online["commit"]
    assert len(hub.requested(path="*alice/kept*")) == before, "a commit that is in the cache needs no request"
    for how, words, warned in (
        ({"HF_HUB_OFFLINE": "1"}, "on the Hub: offline mode is on and the files are not cached", 0),
        # Nothing listens there.
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be reached", 2),
    ):
        seen = read(hub, everything, home=tmp_path, **how)
        assert {name: seen["answers"][name] for name in cases} == online
        assert words in seen["answers"]["never"]["error"]
        assert words in seen["answers"]["branch"]["error"]
        warnings = [warning for warning in seen["warnings"] if f"using commit {first} from the cache" in warning]
        assert len(warnings) == warned
    # Back online, the new commit is read.
    newer = read(hub, {"main": cases["main"]}, home=tmp_path)["answers"]["main"]
    assert newer["commit"] == hub.commits("alice/kept")[0].id != first


def test_a_part_of_the_files_is_not_taken_for_the_whole(hub, tmp_path):
    """Other programs put a configuration alone into the cache; and a new commit may have come only in part."""
    hub.create("alice/part", FILES)
    small = {"small": {"source": "alice/part", "weights": False}}
    assert read(hub, small, home=tmp_path)["answers"]["small"]["files"] == sorted(SMALL)
    whole = {"whole": {"source": "alice/part"}}
    offline = read(hub, whole, home=tmp_path, HF_HUB_OFFLINE="1")["answers"]["whole"]
    assert "offline mode is on and the files are not cached" in offline["error"]
    assert "commit" in read(hub, whole, home=tmp_path)["answers"]["whole"]
    hub.commit("alice/part", {"model.safetensors": b"\0new"})
    with hub.fault("drop", path="/alice/part/resolve/*", count=None):
        assert "failed" in read(hub, whole, home=tmp_path)["answers"]["whole"]["error"]
    assert read(hub, small, home=tmp_path)["answers"]["small"]["commit"] == hub.commits("alice/part")[0].id
    assert "not cached" in read(hub, whole, home=tmp_path, HF_HUB_OFFLINE="1")["answers"]["whole"]["error"]


CONVERT = """
from huggingface_hub import CommitOperationAdd, HfApi
operation = CommitOperationAdd("model.safetensors", b"\\0converted")
HfApi().create_commit("alice/pickled", [operation], commit_message="Add safetensors", create_pr=True)
"""


def test_pickled_weights_are_refused_and_a_pull_request_that_converts_them_opens(hub, tmp_path):
    hub.create("alice/pickled", {**SMALL, "pytorch_model.bin": b"\0pickle"})
    hub.run(CONVERT, token=hub.token("bob"))
    cases = {"main": {"source": "alice/pickled"}, "converted": {"source": "alice/pickled", "revision": "refs/pr/1"}}
    answers = read(hub, cases, home=tmp_path)["answers"]
    assert "(revision 'refs/pr/1')" in answers["main"]["error"]
    assert answers["converted"]["files"] == ["config.json", "model.safetensors", "preprocessor_config.json"]


# --- folders ---


def folder_of(path: Path, files) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_folder_is_itself(tmp_path):
    for number, files in enumerate((FILES, ADAPTER)):
        folder = folder_of(tmp_path / str(number), files)
        snapshot = open_snapshot(folder)
        assert snapshot == Snapshot(str(folder), folder, None)
        assert snapshot.is_adapter == (files is ADAPTER)
        assert open_snapshot(snapshot) is snapshot
        with pytest.raises(InputError, match="is a folder, which has no revision 'v2'"):
            open_snapshot(folder, revision="v2")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no config.json"),
        (
            {**SMALL, "model.safetensors.index.json": INDEX % "pytorch_model.bin"},
            "names 'pytorch_model.bin', which is not",
        ),
        (
            {**SMALL, "model.safetensors.index.json": INDEX % "../m.safetensors"},
            "names '../m.safetensors', which is not",
        ),
        ({**SMALL, "pytorch_model.bin": b"\0"}, "only as a pickle (pytorch_model.bin), which is never opened here"),
        ({**SMALL, "adapter_config.json": "{}", "adapter_model.bin": b"\0"}, "only as a pickle (adapter_model.bin)"),
        ({**SMALL, "model.safetensors.index.json": "{}"}, "has a broken model.safetensors.index.json"),
        ({**FILES, "config.json": '{"model_type": "bert"}'}, "'bert' is not supported; choose an encoder of hubert"),
        ({**FILES, "config.json": "{]"}, "its config.json cannot be read as JSON"),
        ({**FILES, "config.json": "[]"}, "its config.json is not a JSON object"),
        ({**FILES, "config.json": b"\xff\xfe"}, "its config.json cannot be read as JSON"),
    ],
)
def test_a_folder_that_is_no_model_is_one_line(files, words, tmp_path):
    folder = folder_of(tmp_path / "m", files)
    with pytest.raises(InputError) as caught:
        open_snapshot(folder, inspect=open_config)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_typing_error_in_the_name_of_a_folder_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "runs", {})
    for name in ("runs/mymodell", str(tmp_path / "mymodell"), "a/b/c", "../x"):
        with pytest.raises(InputError, match=f"model '{name}': there is no such folder; give"):
            open_snapshot(name)
