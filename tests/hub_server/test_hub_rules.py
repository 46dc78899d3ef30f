"""What the Hub decides by itself: names of objects, validity of cards, where a file goes."""

import json

import pytest

from hub_server import cards
from hub_server.registry import is_ignored, is_large
from hub_server.script import run
from hub_server.storage import Blobs, git_hash, tree_oid

# --- git's names, the validator, what is large ---


def test_objects_have_the_names_git_gives_them(tmp_path):
    # From `git hash-object` and `git write-tree` on the same files.
    assert git_hash("blob", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert git_hash("tree", b"") == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    blobs = Blobs(tmp_path)
    entry = blobs.entry(*blobs.add([b"hel", b"lo\n"]), lfs=False)
    assert entry.oid == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert tree_oid({"a.txt": entry, "a/b.txt": entry, "a-b": entry}) == "22af97fc0c107101cfe385d1f16c6e2e230cf579"
    large = blobs.entry(entry.sha256, entry.size, lfs=True)
    assert large.etag == entry.sha256
    assert large.pointer_size == 126


INDEX = {
    "name": "m",
    "results": [
        {
            "task": {"type": "audio-classification"},
            "dataset": {"type": "alice/speech", "name": "Speech"},
            "metrics": [{"type": "accuracy", "value": 0.5}],
        }
    ],
}


@pytest.mark.parametrize(
    ("kind", "front", "expected"),
    [
        ("model", {"license": "mit", "base_model": "a/b", "language": ["en"], "model-index": [INDEX]}, []),
        ("model", {"license": "my-own"}, ['"license" with value "my-own"']),
        ("model", {"license": ["mit", "cc-by-nc-sa-4.0"]}, []),
        ("model", {"base_model": "./runs/best"}, ['"base_model" with value "./runs/best"']),
        ("model", {"base_model": "/tmp/hubert/large"}, ['"base_model" with value']),
        ("model", {"base_model": "a/b", "base_model_relation": "child"}, ['"base_model_relation" must be one of']),
        ("model", {"datasets": [None]}, ['"datasets" must be a string']),
        ("model", {"co2_eq_emissions": {"emissions": 3.5, "source": "CodeCarbon"}}, []),
        ("model", {"co2_eq_emissions": "little"}, ['"co2_eq_emissions" must be a number']),
        ("model", {"tags": "speech"}, ['"tags" must be an array']),
        ("model", {"language": "English"}, ['"language" with value "English"']),
        ("model", {"model-index": [{"results": []}]}, ['"model-index[0].name" is required']),
        ("model", {"model-index": [{"name": "m", "results": [{}]}]}, ["task.type", "type", "name", "metrics"]),
        ("dataset", {"size_categories": ["1K<n<10K"], "configs": [{"config_name": "a"}]}, []),
        ("dataset", {"size_categories": "many", "configs": [{}]}, ["size_categories", "configs[0].config_name"]),
        ("space", {"sdk": "gradio", "colorFrom": "red"}, []),
        ("space", {"colorFrom": "mauve"}, ['"sdk" must be one of', '"colorFrom" must be one of']),
    ],
)
def test_the_card_validator(kind, front, expected):
    errors, _ = cards.validate(f"---\n{json.dumps(front)}\n---\n# Title\n", kind)
    assert len(errors) == len(expected), errors
    assert all(part in error for part, error in zip(expected, errors, strict=True))


def test_the_card_validator_on_what_is_no_front_matter():
    assert cards.validate("# Only text\n", "model") == ([], ["empty or missing yaml metadata in repo card"])
    assert "does not parse" in cards.validate("---\na: [1\n---\n", "model")[0][0]
    assert "not a mapping" in cards.validate("---\n- a\n---\n", "model")[0][0]
    assert cards.validate("---\npipeline_tag: odd\n---\n", "model")[1] == [
        'The pipeline tag "odd" is not in the official list'
    ]


def test_what_goes_to_large_file_storage():
    attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\nsaved/**/* filter=lfs\n*.txt text\n"
    assert is_large("deep/a.bin", 1, b"a", attributes)
    assert is_large("saved/x/y.py", 1, b"a", attributes)
    assert is_large("a.txt", 10 << 20, b"a", attributes)
    assert is_large("a.dat", 3, b"a\0b", attributes)
    assert not is_large("a.txt", 3, b"abc", attributes)


def test_what_a_gitignore_leaves_out():
    rules = "# comment\n*.log\n!keep.log\n/top.txt\ncache/\n"
    assert is_ignored("deep/a.log", rules)
    assert not is_ignored("keep.log", rules)
    assert is_ignored("top.txt", rules)
    assert not is_ignored("deep/top.txt", rules)
    assert is_ignored("x/cache/a.txt", rules)
    assert not is_ignored("cache", rules)


def test_a_bad_card_stops_the_client_and_the_commit(hub):
    hub.create("alice/card")
    code = """
import httpx2
bad = b"---\\nlicense: my-own\\n---\\n"
try:
    alice.upload_file(path_or_fileobj=bad, path_in_repo="README.md", repo_id="alice/card")
except ValueError as error:
    seen["client"] = str(error)
try:
    ModelCard(bad.decode()).validate()
except ValueError as error:
    seen["card"] = str(error)
lines = [{"key": "header", "value": {"summary": "s"}},
         {"key": "file", "value": {"path": "README.md", "encoding": "utf-8", "content": bad.decode()}},
         {"key": "file", "value": {"path": "b.txt", "encoding": "base64", "content": ""}}]
url = os.environ["HF_ENDPOINT"] + "/api/models/alice/card/commit/main"
reply = httpx2.post(url, content="\\n".join(map(json.dumps, lines)), headers={"Authorization": f"Bearer {sys.argv[1]}"})
seen["commit"] = [reply.status_code, reply.json()["error"]]
"""
    seen = run(hub, code)
    assert '"license" with value "my-own" is not valid' in seen["client"]
    assert "my-own" in seen["card"]
    assert seen["commit"][0] == 400
    assert hub.paths("alice/card") == [".gitattributes"]
