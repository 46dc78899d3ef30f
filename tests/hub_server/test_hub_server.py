"""The loopback Hub against the real client, and its own rules."""

import json

import pytest

from hub_server.cards import validate

CLIENT = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi
alice, bob, reader, nobody = (HfApi(token=token) for token in (None, *sys.argv[1:3], False))
seen = {}

def outcome(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except Exception as error:
        return f"{type(error).__name__} {error.response.status_code}"

def content(api, id, revision=None):
    cache = Path.cwd() / str(len(list(Path.cwd().iterdir())))
    return outcome(lambda: Path(api.hf_hub_download(id, "a.bin", revision=revision, cache_dir=cache)).read_text())

for kind in ("model", "dataset", "space"):
    at = {"repo_id": f"alice/{kind}-trip", "repo_type": kind}
    alice.create_repo(**at, private=True, **({"space_sdk": "gradio"} if kind == "space" else {}))
    commits = [alice.upload_folder(**at, folder_path=sys.argv[3]).oid for _ in range(2)]
    down = Path(alice.snapshot_download(**at))
    seen[kind] = [commits[0] == commits[1] == alice.repo_info(**at).sha, (down / "deep/a.bin").read_bytes().hex()]
id, put = "alice/rules", {"path_in_repo": "a.bin", "repo_id": "alice/rules"}
head = alice.model_info(id).sha
alice.create_branch(id, branch="exp/one", exist_ok=True)
alice.upload_file(path_or_fileobj=b"\\0two", **put, revision="exp/one", parent_commit=head)
seen["pull"] = bob.upload_file(path_or_fileobj=b"\\0three", **put, create_pr=True).pr_revision
seen["read"] = [content(nobody, id, revision) for revision in ("main", "exp/one", "refs/pr/1", "nope")]
stale = {"path_or_fileobj": b"\\0", "revision": "exp/one", "parent_commit": head}
seen["refused"] = [outcome(api.upload_file, **put, **more) for api, more in
                   ((alice, stale), (bob, {"path_or_fileobj": b""}), (reader, {"path_or_fileobj": b""}))]
seen["doors"] = [content(api, f"alice/{name}") for name in ("secret", "gated") for api in (alice, bob, nobody)]
print(json.dumps(seen))
"""


def test_the_real_client_uploads_reads_and_is_refused(hub, tmp_path):
    (tmp_path / "up/deep").mkdir(parents=True)
    (tmp_path / "up/deep/a.bin").write_bytes(b"\0\1")
    hub.create("alice/rules", {"a.bin": "\0one", "README.md": "---\nlicense: mit\n---\n"})
    hub.create("alice/secret", {"a.bin": "hush"}, private=True)
    hub.create("alice/gated", {"a.bin": "ask"}).gated = "auto"
    tokens = [hub.token("bob"), hub.token("alice", "read")]
    seen = json.loads(hub.run(CLIENT, *tokens, str(tmp_path / "up"), token=hub.token(), cwd=tmp_path))
    assert [seen[kind] for kind in ("model", "dataset", "space")] == [[True, "0001"]] * 3
    assert seen["pull"] == "refs/pr/1"
    assert seen["read"] == ["\0one", "\0two", "\0three", "RevisionNotFoundError 404"]
    assert seen["refused"] == ["HfHubHTTPError 412", "HfHubHTTPError 403", "HfHubHTTPError 403"]
    assert seen["doors"][:3] == ["hush", "RepositoryNotFoundError 404", "RepositoryNotFoundError 401"]
    assert seen["doors"][3:] == ["ask", "GatedRepoError 403", "GatedRepoError 401"]


def test_a_client_process_cannot_leave_loopback(hub):
    for reach in ('create_connection(("192.0.2.1", 80))', 'getaddrinfo("hf.co", 443)'):
        with pytest.raises(AssertionError, match=r"a test reached for (192\.0\.2\.1|hf\.co)"):
            hub.run(f"import socket; socket.{reach}")


def test_an_error_of_the_server_fails_the_test(hub):
    with hub.fault("conflict", path="/api/repos/create"):
        hub.run("import huggingface_hub as it\ntry: it.create_repo('alice/x')\nexcept it.errors.HfHubHTTPError: pass")
    with pytest.raises(AssertionError, match="the loopback Hub failed"):
        hub.check()


@pytest.mark.parametrize(
    ("kind", "front", "expected"),
    [
        ("model", {"license": ["mit"], "base_model": "a/b", "license_name": "x"}, []),
        ("model", {"license": "my-own"}, ['"license" with value "my-own"']),
        ("model", {"base_model": "./runs/best", "tags": "a"}, ['"base_model" with value "./runs/best"', '"tags" must']),
        ("model", {"model-index": [{"name": "m", "results": [{}]}]}, ["task.type", "type", "name", "metrics.0"]),
        ("dataset", {"size_categories": "many", "configs": [{}]}, ["size_categories", "configs.0.config_name"]),
        ("space", {"colorFrom": "mauve"}, ['"colorFrom" with value "mauve"', '"sdk" is required']),
    ],
)
def test_the_card_validator(kind, front, expected):
    errors, _ = validate(f"---\n{json.dumps(front)}\n---\n# Title\n", kind)
    assert all(part in error for part, error in zip(expected, errors, strict=True)), errors
