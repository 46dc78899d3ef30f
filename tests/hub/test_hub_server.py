"""The loopback Hub against the real clients: every kind of repository, revisions, pull requests."""

import pytest

from hub_server import Hub
from hub_server.script import run


@pytest.fixture(scope="module")
def hub():
    """These tests take a Hub of their own, so that their repositories meet nobody else's."""
    with Hub() as running:
        yield running


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


def _write(folder, files: dict[str, bytes]):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def trip(hub, tmp_path_factory):
    folders = {
        kind: _write(tmp_path_factory.mktemp(kind), {**FILES, "README.md": card.encode()})
        for kind, card in CARDS.items()
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
copy = CommitOperationCopy("model.safetensors", "copy.safetensors")
alice.create_commit("alice/trip-model", [copy], commit_message="Copy")
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
seen["squashed"] = [c.title for c in alice.list_repo_commits(id, revision="exp/one")]
seen["squashed"].append(content(id, "a.txt", revision="exp/one"))
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
seen["merged"] = [content(id, "a.txt"), alice.get_discussion_details(id, 1).status]
seen["merged"].append(outcome(alice.merge_pull_request, id, 2))

# A commit that names its parent.
head = alice.model_info(id).sha
put = dict(path_in_repo="c.txt", repo_id=id, parent_commit=head)
seen["parent"] = [alice.upload_file(path_or_fileobj=b"1", **put).oid == alice.model_info(id).sha,
                  outcome(alice.upload_file, path_or_fileobj=b"2", **put)]

def push(number, parent=None):
    operation = CommitOperationAdd(f"{number}.txt", str(number).encode())
    message = {"commit_message": f"n{number}", "parent_commit": parent}
    return outcome(HfApi(token=sys.argv[1]).create_commit, "alice/parallel", [operation], **message)
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
