"""Faults, and transfers in parts: what the real client does when the network or the Hub fails it."""

import json
import os

import pytest

from hub_server.faults import Fault, Faults
from hub_server.script import run

# --- large files ---


@pytest.fixture(scope="module")
def large(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    data = {"parts.bin": os.urandom(5 << 19), "resumed.bin": os.urandom(24 << 20)}
    for path, content in data.items():
        (folder / path).write_bytes(content)
    hub.create("alice/large", {"resumed.bin": data["resumed.bin"]})
    hub.multipart_size = 1 << 20
    start = len(hub.requests)
    code = """
folder = Path(sys.argv[4])
alice.upload_file(path_or_fileobj=folder / "parts.bin", path_in_repo="parts.bin", repo_id="alice/large")
alice.upload_file(path_or_fileobj=folder / "parts.bin", path_in_repo="again.bin", repo_id="alice/large")
down = Path(alice.hf_hub_download("alice/large", "resumed.bin"))
seen["resumed"] = down.read_bytes() == (folder / "resumed.bin").read_bytes()
import httpx2
url = huggingface_hub.hf_hub_url("alice/large", "parts.bin")
def ask(span):
    reply = httpx2.get(url, headers={"Range": span}, follow_redirects=True)
    return [reply.status_code, reply.headers.get("content-range"), reply.content.hex()[:20], len(reply.content)]
seen["ranges"] = [ask("bytes=5-9"), ask("bytes=2621436-"), ask("bytes=-3"), ask("bytes=2621440-")]
"""
    with hub.fault("truncate", path="/cdn/*/resumed.bin", after_bytes=11 << 20) as fault:
        seen = run(hub, code, str(folder))
    hub.multipart_size = 64 << 20
    return {**seen, "data": data, "hits": fault.hits, "requests": list(hub.requests[start:])}


def test_a_large_file_goes_up_in_parts_once(hub, large):
    assert hub.read("alice/large", "parts.bin") == hub.read("alice/large", "again.bin") == large["data"]["parts.bin"]
    uploads = [record.path for record in large["requests"] if record.method == "PUT"]
    assert [path.rpartition("/")[2] for path in uploads] == ["1", "2", "3"]


def test_a_cut_download_resumes_where_it_stopped(large):
    assert large["resumed"]
    assert len(large["hits"]) == 1
    ranges = [r.range for r in large["requests"] if r.path.startswith("/cdn/") and r.path.endswith("resumed.bin")]
    assert ranges == [None, "bytes=10485760-"]


def test_ranges(large):
    data = large["data"]["parts.bin"]
    assert large["ranges"][0] == [206, "bytes 5-9/2621440", data[5:10].hex(), 5]
    assert large["ranges"][1] == [206, "bytes 2621436-2621439/2621440", data[-4:].hex(), 4]
    assert large["ranges"][2] == [206, "bytes 2621437-2621439/2621440", data[-3:].hex(), 3]
    assert large["ranges"][3][:2] == [416, "bytes */2621440"]


def test_no_token_leaves_for_the_storage(large):
    elsewhere = [record for record in large["requests"] if record.path.startswith(("/cdn/", "/lfs/"))]
    assert len(elsewhere) >= 5
    assert not any(record.authorized for record in elsewhere)


# --- faults ---

PUT_SMALL = 'alice.upload_file(path_or_fileobj=b"new", path_in_repo="new.txt", repo_id=id)'
PUT_LARGE = 'alice.upload_file(path_or_fileobj=b"new" * 1000, path_in_repo="new.bin", repo_id=id)'
GET_SMALL = 'content(id, "old.txt")'
# name: (fault, what the client does, what it sees, whether the new file is there)
FAULTS = {
    "429-preupload": ({"kind": 429, "path": "*/preupload/*", "retry_after": 0}, PUT_SMALL, "done", True),
    "500-lfs": ({"kind": 500, "path": "/lfs/*"}, PUT_LARGE, "done", True),
    "503-batch": ({"kind": 503, "path": "*/objects/batch"}, PUT_LARGE, "done", True),
    "drop-preupload": ({"kind": "drop", "path": "*/preupload/*"}, PUT_SMALL, "done", True),
    "drop-lfs": ({"kind": "drop", "path": "/lfs/*", "after_bytes": 10}, PUT_LARGE, "done", True),
    "500-commit": ({"kind": 500, "path": "*/commit/*"}, PUT_SMALL, "HfHubHTTPError 500", False),
    "429-commit": ({"kind": 429, "path": "*/commit/*", "retry_after": 7}, PUT_SMALL, "HfHubHTTPError 429", False),
    "drop-commit": ({"kind": "drop", "path": "*/commit/*"}, PUT_SMALL, "RemoteProtocolError", False),
    "lost-commit": ({"kind": "lost_answer", "path": "*/commit/*"}, PUT_SMALL, "RemoteProtocolError", True),
    "conflict": (
        {"kind": "conflict", "path": "*/commit/*", "files": {"new.txt": "bob's"}},
        PUT_SMALL.replace("repo_id=id", "repo_id=id, parent_commit=alice.model_info(id).sha"),
        "HfHubHTTPError 412",
        False,
    ),
    "truncate-get": ({"kind": "truncate", "method": "GET", "path": "*/resolve/*"}, GET_SMALL, "done", False),
    "500-head": ({"kind": 500, "method": "HEAD"}, GET_SMALL, "done", False),
    "slow-head": ({"kind": "slow", "method": "HEAD", "seconds": 2}, GET_SMALL, "done", False),
}


@pytest.fixture(scope="module")
def struck(hub):
    # All cases at the same time: most of each is the client's wait before it tries again.
    faults = {}
    for name, (fault, *_) in FAULTS.items():
        hub.create(f"alice/{name}", {"old.txt": "old " * 10})
        path = fault.get("path", "*")
        path = f"*/alice/{name}{path}" if path.startswith("*") else f"{path[:-1]}models/alice/{name}/*"
        faults[name] = hub.fault(**{**fault, "path": path})
    code = """
cases = json.loads(sys.argv[4])
def case(name):
    id, alice = f"alice/{name}", HfApi(token=sys.argv[1])
    result = outcome(eval, cases[name], {"id": id, "alice": alice, "content": lambda *a: content(*a, api=alice)})
    return name, result if isinstance(result, str) and "Error" in result else "done"
with ThreadPoolExecutor(len(cases)) as pool:
    seen.update(pool.map(case, cases))
"""
    asked = {name: case[1] for name, case in FAULTS.items()}
    seen = run(hub, code, json.dumps(asked), HF_HUB_ETAG_TIMEOUT="1")
    return {"seen": seen, "hits": {name: fault.hits for name, fault in faults.items()}}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_effect_on_the_client(hub, struck, name):
    _, _, expected, arrived = FAULTS[name]
    assert len(struck["hits"][name]) == 1
    assert struck["seen"][name] == expected
    files = {path: content for path, content in hub.files(f"alice/{name}").items() if path.startswith("new")}
    if name == "conflict":
        assert files == {"new.txt": b"bob's"}
        assert [commit.author for commit in hub.commits(f"alice/{name}")] == ["bob", "alice", "alice"]
    else:
        assert bool(files) == arrived


def test_a_fault_ends_with_its_block_its_count_or_its_luck():
    faults = Faults()
    with faults.add(Fault(503, method="GET", path="/a/*", count=2, skip=1)) as fault:
        struck = [faults.strike(method, "/a/b") is fault for method in ("GET", "POST", "GET", "GET", "GET")]
    assert struck == [False, False, True, True, False]
    assert faults.strike("GET", "/a/b") is None
    lucky, again = (Fault(500, rate=0.3, count=None, seed=5) for _ in range(2))
    drawn = [lucky.strikes("GET", "/") for _ in range(1000)]
    assert drawn == [again.strikes("GET", "/") for _ in range(1000)]
    assert 250 < sum(drawn) < 350
    with pytest.raises(ValueError, match="fault 'explode'"):
        Fault("explode")
