"""The loopback Hub against the real clients; each client process runs many steps and prints what it saw as JSON."""

import json
import os
import time

import pytest
from hub_server import Hub, cards
from hub_server.faults import Fault, Faults
from hub_server.registry import is_ignored, is_large
from hub_server.storage import Blobs, git_hash, tree_oid

PRELUDE = """
import json, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, ModelCard
from huggingface_hub.utils import disable_progress_bars, logging
logging.set_verbosity_error()
alice, bob, reader = (HfApi(token=token) for token in sys.argv[1:4])
nobody = HfApi(token=False)
seen = {}

def outcome(function, *arguments, **named):
    '''What a call gives: its value, or the name of its error and the status.'''
    try:
        return function(*arguments, **named)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        return f"{type(error).__name__} {status}" if status else type(error).__name__

def content(repo_id, filename, api=alice, **named):
    return Path(api.hf_hub_download(repo_id, filename, **named)).read_bytes().hex()
"""


def run(hub: Hub, code: str, *arguments: str, **named) -> dict:
    tokens = [hub.token("alice"), hub.token("bob"), hub.token("alice", "read")]
    printed = hub.run(f"{PRELUDE}\n{code}\nprint(json.dumps(seen))", *tokens, *arguments, **named)
    return json.loads(printed.splitlines()[-1])


def write(folder, files: dict[str, bytes]):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


CARDS = {
    "model": "---\nlicense: mit\ntags: [speech]\npipeline_tag: audio-classification\ndatasets: [alice/speech]\n"
    "base_model: facebook/hubert-base-ls960\n---\n# Mine\n",
    "dataset": "---\nlicense: cc-by-4.0\ntask_categories: [audio-classification]\n---\n# Mine\n",
    "space": "---\ntitle: Mine\nsdk: gradio\n---\n",
}
FILES = {
    "config.json": b'{"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]}',
    "deep/er/notes.txt": "naïve\n".encode(),
    "empty.txt": b"",
    "model.safetensors": bytes(range(256)) * 40,
    "noise.dat": b"\0\1\2",
}


# --- every kind of repository, there and back ---


@pytest.fixture(scope="module")
def trip(hub, tmp_path_factory):
    folders = {
        kind: write(tmp_path_factory.mktemp(kind), {**FILES, "README.md": card.encode()}) for kind, card in CARDS.items()
    }
    code = """
for kind, folder in zip(("model", "dataset", "space"), sys.argv[4:]):
    id = f"alice/trip-{kind}"
    sdk = {"space_sdk": "gradio"} if kind == "space" else {}
    url = alice.create_repo(id, repo_type=kind, **sdk)
    again = alice.create_repo(id, repo_type=kind, exist_ok=True, **sdk)
    first = alice.upload_folder(repo_id=id, repo_type=kind, folder_path=folder)
    second = alice.upload_folder(repo_id=id, repo_type=kind, folder_path=folder)
    down = Path(alice.snapshot_download(id, repo_type=kind))
    info = alice.repo_info(id, repo_type=kind, files_metadata=True)
    seen[kind] = {
        "url": url == again and url.repo_id, "first": first.oid, "second": second.oid, "sha": info.sha,
        "files": {str(p.relative_to(down)): p.read_bytes().hex() for p in down.rglob("*") if p.is_file()},
        "tags": info.tags, "lfs": sorted(s.rfilename for s in info.siblings if s.lfs),
        "twice": outcome(alice.create_repo, id, repo_type=kind, **sdk),
    }
seen["pipeline_tag"] = alice.model_info("alice/trip-model").pipeline_tag
alice.create_commit("alice/trip-model", [CommitOperationCopy("model.safetensors", "copy.safetensors")], commit_message="c")
alice.delete_file("noise.dat", "alice/trip-model")
alice.delete_folder("deep", "alice/trip-model")
seen["missing"] = outcome(alice.delete_file, "never.txt", "alice/trip-model")
seen["whoami"] = {k: v for k, v in alice.whoami().items() if k in ("type", "name")}
seen["who"] = [outcome(nobody.create_repo, "alice/x"), outcome(reader.create_repo, "alice/x"),
               outcome(bob.create_repo, "alice/x"), outcome(alice.whoami, token="hf_unknown")]
alice.create_repo("alice/old-name", private=True)
alice.upload_file(path_or_fileobj=b"kept", path_in_repo="a b#.txt", repo_id="alice/old-name")
alice.move_repo("alice/old-name", "alice/new-name")
seen["moved"] = [content("alice/new-name", "a b#.txt"), alice.model_info("alice/old-name").id]
alice.delete_repo("alice/new-name")
seen["deleted"] = outcome(alice.model_info, "alice/new-name")
"""
    return run(hub, code, *map(str, folders.values()))


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_folder_goes_up_in_one_commit_and_comes_back_the_same(hub, trip, kind):
    id, expected = f"alice/trip-{kind}", {**FILES, "README.md": CARDS[kind].encode()}
    assert trip[kind]["url"] == id
    down = {path: bytes.fromhex(text) for path, text in trip[kind]["files"].items()}
    assert {path: text for path, text in down.items() if path != ".gitattributes"} == expected
    history = hub.commits(id, trip[kind]["first"], kind)
    assert [commit.title for commit in history] == ["Upload folder using huggingface_hub", "initial commit"]
    assert hub.files(id, trip[kind]["first"], kind) == down
    assert trip[kind]["lfs"] == ["model.safetensors", "noise.dat"]


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_an_unchanged_folder_makes_no_commit(trip, kind):
    assert trip[kind]["first"] == trip[kind]["second"] == trip[kind]["sha"]


def test_a_repository_that_exists_is_reported(trip):
    assert {trip[kind]["twice"] for kind in CARDS} == {"HfHubHTTPError 409"}


def test_search_tags_come_from_card_and_files(trip):
    model = {"speech", "transformers", "audio-classification", "safetensors", "dataset:alice/speech", "license:mit"}
    assert model | {"base_model:finetune:facebook/hubert-base-ls960"} <= set(trip["model"]["tags"])
    assert {"task_categories:audio-classification", "license:cc-by-4.0"} <= set(trip["dataset"]["tags"])
    assert trip["pipeline_tag"] == "audio-classification"


def test_files_are_copied_and_deleted(hub, trip):
    assert hub.paths("alice/trip-model") == [
        ".gitattributes",
        "README.md",
        "config.json",
        "copy.safetensors",
        "empty.txt",
        "model.safetensors",
    ]
    assert hub.read("alice/trip-model", "copy.safetensors") == FILES["model.safetensors"]
    assert trip["missing"] == "RemoteEntryNotFoundError 404"


def test_only_a_write_token_of_the_owner_creates(hub, trip):
    assert trip["whoami"] == {"type": "user", "name": "alice"}
    assert trip["who"] == ["HfHubHTTPError 401", "HfHubHTTPError 403", "HfHubHTTPError 403", "HfHubHTTPError 401"]
    assert "alice/x" not in hub.repos()


def test_a_repository_moves_and_is_deleted(hub, trip):
    assert trip["moved"] == [b"kept".hex(), "alice/new-name"]
    assert trip["deleted"] == "RepositoryNotFoundError 404"
    assert not {"alice/old-name", "alice/new-name"} & set(hub.repos())


# --- large files ---


@pytest.fixture(scope="module")
def large(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    data = {"parts.bin": os.urandom(5 << 19), "resumed.bin": os.urandom(24 << 20)}
    write(folder, data)
    hub.create("alice/large", {"resumed.bin": data["resumed.bin"]})
    hub.multipart_size = 1 << 20
    start = len(hub.requests)
    code = """
folder = Path(sys.argv[4])
alice.upload_file(path_or_fileobj=folder / "parts.bin", path_in_repo="parts.bin", repo_id="alice/large")
alice.upload_file(path_or_fileobj=folder / "parts.bin", path_in_repo="again.bin", repo_id="alice/large")
seen["resumed"] = Path(alice.hf_hub_download("alice/large", "resumed.bin")).read_bytes() == (folder / "resumed.bin").read_bytes()
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


# --- revisions, pull requests, parents ---


@pytest.fixture(scope="module")
def revisions(hub):
    hub.create("alice/rev", {"a.txt": "one"})
    hub.create("alice/parallel")
    code = """
id = "alice/rev"
start = alice.model_info(id).sha
alice.create_branch(id, branch="exp/one")
seen["branch twice"] = outcome(alice.create_branch, id, branch="exp/one")
alice.upload_file(path_or_fileobj=b"two", path_in_repo="a.txt", repo_id=id, revision="exp/one")
alice.create_tag(id, tag="v1", revision="exp/one")
alice.upload_file(path_or_fileobj=b"three", path_in_repo="a.txt", repo_id=id, revision="exp/one")
seen["a.txt"] = [content(id, "a.txt", revision=r) for r in ("main", "exp/one", "v1", start)]
refs = alice.list_repo_refs(id)
seen["refs"] = [sorted(b.name for b in refs.branches), [t.name for t in refs.tags]]
seen["unknown"] = [outcome(alice.hf_hub_download, id, "a.txt", revision="nope"),
                   outcome(alice.hf_hub_download, id, "nope.txt"),
                   outcome(alice.upload_file, path_or_fileobj=b"", path_in_repo="b", repo_id=id, revision="nope")]
seen["commits"] = [c.title for c in alice.list_repo_commits(id, revision="exp/one")]
alice.super_squash_history(id, branch="exp/one", commit_message="squashed")
seen["squashed"] = [c.title for c in alice.list_repo_commits(id, revision="exp/one")] + [content(id, "a.txt", revision="exp/one")]
alice.delete_tag(id, tag="v1"); alice.delete_branch(id, branch="exp/one")
seen["gone"] = [outcome(alice.model_info, id, revision=r) for r in ("v1", "exp/one")]

# The owner and a stranger each propose a change.
upload = dict(path_in_repo="a.txt", repo_id=id, create_pr=True)
seen["foreign"] = outcome(bob.upload_file, path_or_fileobj=b"bob", path_in_repo="a.txt", repo_id=id)
first = bob.upload_file(path_or_fileobj=b"from bob", **upload)
second = alice.upload_file(path_or_fileobj=b"from alice", **upload)
seen["pulls"] = [first.pr_num, second.pr_revision, content(id, "a.txt", revision="refs/pr/1"), content(id, "a.txt")]
seen["discussions"] = sorted((d.num, d.author, d.status) for d in alice.get_repo_discussions(id))
alice.merge_pull_request(id, 1)
seen["merged"] = [content(id, "a.txt"), alice.get_discussion_details(id, 1).status, outcome(alice.merge_pull_request, id, 2)]

# A commit that names its parent.
head = alice.model_info(id).sha
put = dict(path_in_repo="c.txt", repo_id=id, parent_commit=head)
seen["parent"] = [outcome(alice.upload_file, path_or_fileobj=b"1", **put) is not None, outcome(alice.upload_file, path_or_fileobj=b"2", **put)]

def push(number, parent=None):
    operation = CommitOperationAdd(f"{number}.txt", str(number).encode())
    return outcome(HfApi(token=sys.argv[1]).create_commit, "alice/parallel", [operation], commit_message=f"n{number}", parent_commit=parent)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(push, range(8)))
    head = alice.model_info("alice/parallel").sha
    answers = list(pool.map(lambda number: push(number, head), range(8, 12)))
seen["race"] = sorted(answer for answer in answers if "Error" in answer)
"""
    return run(hub, code)


def test_branches_tags_and_commits(revisions):
    assert [bytes.fromhex(text) for text in revisions["a.txt"]] == [b"one", b"three", b"two", b"one"]
    assert revisions["refs"] == [["exp/one", "main"], ["v1"]]
    assert revisions["branch twice"] == "HfHubHTTPError 409"
    assert revisions["commits"] == ["Upload a.txt with huggingface_hub"] * 2 + ["By the test", "initial commit"]
    assert revisions["squashed"] == ["squashed", b"three".hex()]
    assert revisions["gone"] == ["RevisionNotFoundError 404"] * 2


def test_what_is_unknown_has_its_own_error(revisions):
    assert revisions["unknown"] == [
        "RevisionNotFoundError 404",
        "RemoteEntryNotFoundError 404",
        "RevisionNotFoundError 404",
    ]


def test_pull_requests(hub, revisions):
    assert revisions["foreign"] == "HfHubHTTPError 403"
    assert revisions["pulls"] == [1, "refs/pr/2", b"from bob".hex(), b"one".hex()]
    assert revisions["discussions"] == [[1, "bob", "open"], [2, "alice", "open"]]
    assert revisions["merged"] == [b"from bob".hex(), "merged", "HfHubHTTPError 409"]
    assert hub.read("alice/rev", "a.txt", "refs/pr/2") == b"from alice"


def test_a_stale_parent_commit_is_refused(hub, revisions):
    assert revisions["parent"] == [True, "HfHubHTTPError 412"]
    assert hub.read("alice/rev", "c.txt") == b"1"


def test_commits_at_the_same_time_are_serialised(hub, revisions):
    assert revisions["race"] == ["HfHubHTTPError 412"] * 3
    assert len(hub.paths("alice/parallel")) == 1 + 8 + 1
    assert len(hub.commits("alice/parallel")) == 1 + 8 + 1


# --- who sees what ---


@pytest.fixture(scope="module")
def doors(hub):
    hub.create("alice/secret", {"a.txt": "hush"}, private=True)
    hub.create("lab/secret", {"a.txt": "ours"}, private=True)
    hub.create("alice/gated", {"a.txt": "ask"})
    for number in range(60):
        hub.commit("alice/gated", {f"many/{number:02d}.txt": str(number)}) if number < 3 else None
    hub.commit("alice/gated", {f"many/{number:02d}.txt": str(number) for number in range(3, 60)})
    hub.create("alice/granted", {"a.txt": "come in"}).gated = "manual"
    hub.grant("alice/granted", "bob")
    card = "---\npipeline_tag: {}\ntags: [{}]\nlicense: mit\n---\n"
    hub.create("bob/search-one", {"README.md": card.format("audio-classification", "red, blue")})
    hub.create("bob/search-two", {"README.md": card.format("text-classification", "red")})
    hub.create("bob/search-private", {"README.md": card.format("audio-classification", "red")}, private=True)
    code = """
apis = {"alice": alice, "bob": bob, "nobody": nobody}
def content(repo_id, filename, api):
    # What one of them has downloaded must not serve another.
    folder = os.environ["HF_HOME"] + next(name for name in apis if apis[name] is api)
    return Path(api.hf_hub_download(repo_id, filename, cache_dir=folder)).read_bytes().hex()
for id in ("alice/secret", "lab/secret"):
    seen[id] = {name: outcome(content, id, "a.txt", api) for name, api in apis.items()}
    seen[id]["info"] = outcome(bob.model_info, id) if id == "alice/secret" else None
alice.update_repo_settings("alice/gated", gated="auto")
for id in ("alice/gated", "alice/granted"):
    seen[id] = {name: outcome(content, id, "a.txt", api) for name, api in apis.items()}
seen["listed"] = sorted(nobody.model_info("alice/gated").gated for _ in range(1))
seen["check"] = [outcome(bob.auth_check, "alice/gated"), outcome(bob.auth_check, "alice/granted"), outcome(nobody.auth_check, "alice/secret")]
seen["many"] = [len(list(alice.list_repo_tree("alice/gated", "many", expand=True))), len(alice.list_repo_files("alice/gated"))]
seen["paths"] = [(p.path, type(p).__name__) for p in alice.get_paths_info("alice/gated", ["a.txt", "many", "nope"])]
seen["last commit"] = [p.last_commit.title for p in alice.get_paths_info("alice/gated", ["a.txt", "many/59.txt"], expand=True)]

def ids(api=nobody, **named):
    return sorted(model.id for model in api.list_models(**named))
seen["search"] = [ids(author="bob"), ids(author="bob", api=bob), ids(filter=["red", "blue"]), ids(filter=["red", "license:mit"]),
                  ids(pipeline_tag="text-classification"), ids(search="SEARCH-O"), len(ids(limit=2)), ids(gated=True),
                  outcome(ids, inference="warm")]
alice.update_repo_settings("alice/secret", private=False)
seen["opened"] = outcome(content, "alice/secret", "a.txt", nobody)
"""
    return run(hub, code)


def test_a_private_repository_does_not_exist_for_others(doors):
    assert doors["alice/secret"] == {
        "alice": b"hush".hex(),
        "bob": "RepositoryNotFoundError 404",
        "nobody": "RepositoryNotFoundError 401",
        "info": "RepositoryNotFoundError 404",
    }
    assert doors["lab/secret"]["bob"] == b"ours".hex()
    assert doors["lab/secret"]["nobody"] == "RepositoryNotFoundError 401"
    assert doors["opened"] == b"hush".hex()


def test_a_gated_repository_is_known_but_closed(doors):
    closed = {"alice": b"ask".hex(), "bob": "GatedRepoError 403", "nobody": "GatedRepoError 401"}
    assert doors["alice/gated"] == closed
    assert doors["alice/granted"] == {name: b"come in".hex() for name in ("alice", "bob")} | {
        "nobody": "GatedRepoError 401"
    }
    assert doors["listed"] == ["auto"]
    assert doors["check"] == ["GatedRepoError 403", None, "RepositoryNotFoundError 401"]


def test_trees_come_in_pages(doors, hub):
    assert doors["many"] == [60, 62]
    pages = [record for record in hub.requested("GET", "*/gated/tree/main/many") if "expand=true" in record.query]
    assert len(pages) == 2


def test_facts_about_paths(doors):
    assert doors["paths"] == [["a.txt", "RepoFile"], ["many", "RepoFolder"]]
    assert doors["last commit"] == ["By the test", "By the test"]


def test_search(doors):
    one, two, private = "bob/search-one", "bob/search-two", "bob/search-private"
    by_author, by_bob, both, either, task, name, limited, gated, unknown = doors["search"]
    assert by_author == [one, two]
    assert by_bob == sorted([one, two, private])
    assert (both, either, task, name) == ([one], [one, two], [two], [one])
    assert limited == 2
    assert gated == ["alice/gated", "alice/granted"]
    assert unknown == "BadRequestError 400"


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
    start = time.monotonic()
    seen = run(hub, code, json.dumps(asked), HF_HUB_ETAG_TIMEOUT="1")
    return {"seen": seen, "hits": {name: fault.hits for name, fault in faults.items()}, "took": time.monotonic() - start}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_effect_on_the_client(hub, struck, name):
    _, _, expected, arrived = FAULTS[name]
    assert len(struck["hits"][name]) == 1
    assert struck["seen"][name] == expected
    files = {path: content for path, content in hub.files(f"alice/{name}").items() if path.startswith("new")}
    if name == "conflict":
        assert files == {"new.txt": b"bob's"}
        assert [commit.author for commit in hub.commits(f"alice/{name}")][0] == "bob"
    else:
        assert bool(files) == arrived


def test_a_fault_ends_with_its_block_its_count_or_its_luck():
    faults = Faults()
    with faults.add(Fault(503, method="GET", path="/a/*", count=2, skip=1)) as fault:
        struck = [faults.strike(method, "/a/b") is fault for method in ("GET", "POST", "GET", "GET", "GET")]
    assert struck == [False, False, True, True, False]
    assert faults.strike("GET", "/a/b") is None
    drawn = [[Fault(500, rate=0.3, count=None, seed=5).strikes("GET", "/") for _ in range(1)] for _ in range(3)]
    assert drawn[0] == drawn[1] == drawn[2]
    lucky = Fault(500, rate=0.3, count=None, seed=5)
    assert 200 < sum(lucky.strikes("GET", "/") for _ in range(1000)) < 400
    with pytest.raises(ValueError, match="fault 'explode'"):
        Fault("explode")


# --- the libraries above ---


def test_datasets_transformers_and_evaluate(hub):
    metric = (
        "import datasets\nimport evaluate\n\n\nclass Half(evaluate.Metric):\n    def _info(self):\n"
        "        features = datasets.Features({'predictions': datasets.Value('float32')})\n"
        "        return evaluate.MetricInfo(description='', citation='', features=features)\n\n"
        "    def _compute(self, predictions):\n        return {'half': sum(predictions) / 2}\n"
    )
    hub.create("alice/half", {"half.py": metric, "app.py": ""}, kind="space")
    hub.create("alice/hidden", {"rows.csv": "x\n1\n"}, kind="dataset", private=True)
    hub.create("alice/config", {"config.json": '{"model_type": "hubert", "hidden_size": 24}'}, private=True)
    code = """
import datasets, evaluate
from transformers import AutoConfig
for name, value in (("one", 1), ("two", 2)):
    part = datasets.Dataset.from_dict({"x": [value] * 5})
    datasets.DatasetDict({"train": part, "test": part.select([0])}).push_to_hub("alice/speech", name, private=True)
for name in ("one", "two"):
    loaded = datasets.load_dataset("alice/speech", name)
    seen[name] = {part: rows["x"][:] for part, rows in loaded.items()}
seen["configs"] = datasets.get_dataset_config_names("alice/speech")
seen["stream"] = [row["x"] for row in datasets.load_dataset("alice/speech", "two", split="train", streaming=True)]
seen["foreign"] = [outcome(datasets.load_dataset, id, token=sys.argv[2]) for id in ("alice/hidden", "alice/nowhere")]
seen["hidden_size"] = AutoConfig.from_pretrained("alice/config").hidden_size
seen["no config"] = outcome(AutoConfig.from_pretrained, "alice/nowhere")
seen["half"] = evaluate.load("alice/half").compute(predictions=[1.0, 2.0])
"""
    seen = run(hub, code, token=hub.token("alice"))
    for name, value in (("one", 1), ("two", 2)):
        assert seen[name] == {"train": [value] * 5, "test": [value]}
    assert seen["configs"] == ["one", "two"]
    assert seen["stream"] == [2] * 5
    assert seen["foreign"] == ["DatasetNotFoundError"] * 2
    assert seen["hidden_size"] == 24
    assert seen["no config"] == "OSError"
    assert seen["half"] == {"half": 1.5}
    assert {"one/train-00000-of-00001.parquet", "two/test-00000-of-00001.parquet"} <= set(
        hub.paths("alice/speech", kind="dataset")
    )


# --- the test's own side ---


def test_a_home_that_has_it_needs_no_network(hub, tmp_path):
    hub.create("alice/offline", {"a.txt": "kept"})
    run(hub, 'seen["a"] = content("alice/offline", "a.txt")', home=tmp_path)
    before = len(hub.requests)
    offline = run(hub, 'seen["a"] = content("alice/offline", "a.txt")', home=tmp_path, HF_HUB_OFFLINE="1")
    assert offline["a"] == b"kept".hex()
    assert len(hub.requests) == before


def test_a_client_process_cannot_leave_loopback(hub):
    code = """
    import socket
    for reach in (lambda: socket.create_connection(("192.0.2.1", 80)), lambda: socket.getaddrinfo("hf.co", 443)):
        try:
            reach()
        except AssertionError as error:
            print(error)
    """
    assert hub.run(code).splitlines() == ["a test reached for 192.0.2.1", "a test reached for hf.co"]


def test_a_failing_client_is_an_assertion(hub):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        hub.run("1 / 0")


def test_a_failure_of_the_hub_itself_is_reported(hub):
    import urllib.error
    import urllib.request

    with hub.fault("conflict", path="/api/models"), pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(f"{hub.endpoint}/api/models")
    with pytest.raises(AssertionError, match="the fault 'conflict' is for"):
        hub.check()


def test_users_and_reset():
    with Hub() as hub:
        hub.add_user("carol")
        hub.create("carol/mine", {"a.txt": "x", "b.bin": b"y"})
        assert hub.token("carol") != hub.token("carol", "read")
        hub.commit("carol/mine", {"c/d.txt": b"z"}, delete=["a.txt"], message="Change", author="bob")
        assert hub.paths("carol/mine") == [".gitattributes", "b.bin", "c/d.txt"]
        assert [(commit.title, commit.author) for commit in hub.commits("carol/mine")][0] == ("Change", "bob")
        hub.reset()
        assert hub.repos() == []
        with pytest.raises(KeyError, match="carol"):
            hub.token("carol")


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


def test_a_bad_card_stops_the_client_and_the_commit(hub):
    hub.create("alice/card")
    code = """
import base64, httpx2
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
         {"key": "file", "value": {"path": "README.md", "encoding": "base64", "content": base64.b64encode(bad).decode()}},
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
