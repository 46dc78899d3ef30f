"""One commit or none: whatever breaks, a reader meets the old version or the new one, and the card stays a human's."""

import threading
import time

import pytest

from hf_ser.errors import InputError
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.hub.commits import push_files
from pushing import Pusher

CARD = "---\ntags:\n- emotion\n---\n\n# A model\n"
# A NUL makes it a large file.
FILES = {"README.md": CARD, "config.json": "{}", "model.safetensors": [0, 1, 2] * 1000}
CHANGED = {**FILES, "README.md": CARD.replace("emotion", "speech"), "model.safetensors": [0, 5] * 999}
HUMAN = "\nBy a human.\n"


def raw(files):
    return {path: text.encode() if isinstance(text, str) else bytes(text) for path, text in files.items()}


def pushed(files):
    """What lies in a repository that nobody wrote to, after a push."""
    return {**raw(files), GENERATED_CARD: raw(files)["README.md"]}


def held(hub, repo_id, **where):
    return {path: content for path, content in hub.files(repo_id, **where).items() if path != ".gitattributes"}


def create(hub, name):
    """A repository that was pushed to, and whose card a human then wrote to."""
    hub.create(name, {**pushed(FILES), "README.md": CARD + HUMAN})
    return name


@pytest.fixture(scope="module")
def alice(hub):
    with Pusher(hub, hub.token("alice")) as pusher:
        yield pusher


@pytest.fixture(scope="module")
def bob(hub):
    with Pusher(hub, hub.token("bob")) as pusher:
        yield pusher


# --- where nothing breaks ---


def test_one_commit_then_none_then_what_changed_and_what_is_stale(hub, alice):
    name = "alice/files-course"
    files = {**FILES, "old/a.json": "{}", "old/b.json": "{}"}
    (url, commit, pull_request, uploaded, deleted), slept = alice.push(name, files)
    assert url == f"{hub.endpoint}/{name}"
    assert hub.repo(name).private
    # The repository begins with a commit of its own.
    assert [commit, *[older.id for older in hub.commits(name)[1:]]] == [one.id for one in hub.commits(name)]
    assert len(hub.commits(name)) == 2
    assert uploaded == sorted({*files, GENERATED_CARD})
    assert (pull_request, deleted, slept) == (None, [], [])

    assert alice.push(name, files)[0] == [url, None, None, [], []]
    assert len(hub.commits(name)) == 2

    changed = {"README.md": CARD, "config.json": '{"a": 1}'}
    told, _ = alice.push(name, changed, stale=("old/a.json", "config.json"))
    assert told[1:] == [hub.commits(name)[0].id, None, ["config.json"], ["old/a.json"]]
    assert held(hub, name) == {**pushed(FILES), "config.json": b'{"a": 1}', "old/b.json": b"{}"}


def test_a_branch_is_made_and_the_main_one_stays(hub, alice):
    name = create(hub, "alice/files-branches")
    told, _ = alice.push(name, CHANGED, revision="trial/one")
    assert told[1] == hub.commits(name, "trial/one")[0].id
    assert held(hub, name, revision="trial/one")["model.safetensors"] == bytes(CHANGED["model.safetensors"])
    assert alice.push(name, CHANGED, revision="trial/one")[0][1] is None
    assert held(hub, name)["model.safetensors"] == bytes(FILES["model.safetensors"])


def test_pull_requests_are_opened_and_added_to(hub, alice):
    name = create(hub, "alice/files-pulls")
    first = hub.commits(name)[0].id
    hub.repo(name).tags["v1"] = first
    told, _ = alice.push(name, CHANGED, create_pr=True)
    assert told[0] == f"{hub.endpoint}/{name}/discussions/1"
    assert told[2] == "refs/pr/1"
    alice.push(name, {**CHANGED, "config.json": "[]"}, revision="refs/pr/1")
    assert hub.read(name, "config.json", "refs/pr/1") == b"[]"
    for options, words in (
        ({"create_pr": True, "revision": "nowhere"}, "there is no 'nowhere'; leave revision out, or name one of main"),
        ({"revision": "v1"}, "revision 'v1' is a tag or a commit"),
        ({"revision": first}, "is a tag or a commit, which never changes; name a branch"),
    ):
        assert words in alice.push(name, CHANGED, **options)[0]
    assert hub.commits(name)[0].id == first
    assert len(hub.repo(name).pulls) == 1
    assert set(hub.repo(name).branches) == {"main"}


def test_a_stranger_may_propose_and_no_more(hub, bob):
    hub.create("alice/files-strange", {"README.md": CARD})
    assert bob.push("alice/files-strange", FILES, create_pr=True)[0][2] == "refs/pr/1"
    assert "the token may not do this" in bob.push("alice/files-strange", FILES)[0]
    assert "the token may not do this" in bob.push("alice/files-no_such", FILES)[0]
    assert "alice/files-no_such" not in hub.repos()


def test_a_gitignore_there_leaves_nothing_of_ours_out(hub, alice):
    hub.create("alice/files-ignoring", {".gitignore": "*.safetensors\n*.json\n"})
    alice.push("alice/files-ignoring", FILES)
    assert held(hub, "alice/files-ignoring") == {**pushed(FILES), ".gitignore": b"*.safetensors\n*.json\n"}


def test_the_hubs_own_card_of_a_new_space_is_nobodys_text(hub, alice):
    card = "---\ntitle: eer\nsdk: static\n---\n\n# EER\n"
    alice.push("alice/files-eer", {"README.md": card}, repo_type="space", space_sdk="static")
    assert held(hub, "alice/files-eer", kind="space") == pushed({"README.md": card})


def test_what_cannot_be_pushed_at_all(hub, alice, tmp_path):
    for name in ("no name", "name", "a/b/c", "../x"):
        assert f"repo_id '{name}' is no repository on the Hub; give USER/NAME" in alice.push(name, FILES)[0]
    with pytest.raises(InputError, match=r"'/etc/passwd' is no path in a repository"):
        push_files("me/x", {"/etc/passwd": b""}, message="x")
    with pytest.raises(InputError, match="is not there to be pushed"):
        push_files("me/x", {"a": tmp_path / "missing"}, message="x")
    with Pusher(hub, None) as nobody, Pusher(hub, hub.token("alice", "read")) as reader:
        assert "no token is at hand; run `hf auth login`" in nobody.push("alice/files-x", FILES)[0]
        assert "the token may not do this; it needs the role write" in reader.push("alice/files-x", FILES)[0]
    with Pusher(hub, "hf_unknownUnknown0") as wrong, Pusher(hub, hub.token(), HF_HUB_OFFLINE="1") as offline:
        assert "the token is refused" in wrong.push("alice/files-x", FILES)[0]
        assert "offline mode is on; unset HF_HUB_OFFLINE" in offline.push("alice/files-x", FILES)[0]
        assert "hf_unknownUnknown0" not in wrong.log()
    assert "alice/files-x" not in hub.repos()


def test_a_card_that_the_hub_refuses_is_not_pushed(hub, alice):
    name = create(hub, "alice/files-refused")
    told, _ = alice.push(name, {**CHANGED, "README.md": "---\nlicense: no-such-licence\n---\n"})
    assert told.startswith(f"nothing was pushed to '{name}': ")
    assert held(hub, name) == {**pushed(FILES), "README.md": (CARD + HUMAN).encode()}


# --- where something breaks ---

# Where a request of a push may fail: method and path.
STEPS = {
    "look": ("GET", "/api/models/{id}"),
    "make": ("POST", "/api/repos/create"),
    "tree": ("GET", "/api/models/{id}/tree/*"),
    "card": ("GET", "/{id}/resolve/*/README.md"),
    "base": ("GET", f"/{{id}}/resolve/*/{GENERATED_CARD}"),
    "check": ("POST", "/api/validate-yaml"),
    "preupload": ("POST", "/api/models/{id}/preupload/*"),
    "batch": ("POST", "/{id}.git/info/lfs/objects/batch"),
    "upload": ("PUT", "/lfs/*"),
    "commit": ("POST", "/api/models/{id}/commit/*"),
}
KINDS = (429, 500, 503, "drop", "truncate", "lost_answer", "slow")
CASES = [(step, kind) for step in STEPS for kind in KINDS]


def fault(hub, step, kind, name, **how):
    method, path = STEPS[step]
    if kind == "slow":
        how["seconds"] = 0.2
    if kind == 429:
        how["retry_after"] = 7
    return hub.fault(kind, method=method, path=path.format(id=name), **how)


@pytest.mark.parametrize(("step", "kind"), CASES)
def test_a_passing_fault_is_outlived(hub, alice, step, kind):
    name = f"alice/files-passing-{step}-{kind}"
    if step != "make":
        create(hub, name)
    with fault(hub, step, kind, name) as struck:
        told, slept = alice.push(name, CHANGED)
    assert len(struck.hits) == 1
    assert [commit.title for commit in hub.commits(name)].count("Push") == 1
    assert told[1] == hub.commits(name)[0].id
    content = held(hub, name)
    assert content[GENERATED_CARD] == CHANGED["README.md"].encode()
    assert content["model.safetensors"] == bytes(CHANGED["model.safetensors"])
    assert step == "make" or HUMAN.encode() in content["README.md"]
    if kind == 429:
        # The client's own repetitions add a second.
        assert slept in ([7.0], [8.0])


@pytest.mark.parametrize(("step", "kind"), [case for case in CASES if case[1] != "slow"])
def test_a_lasting_fault_is_one_line_and_leaves_all_as_it_was(hub, alice, step, kind):
    name = f"alice/files-lasting-{step}-{kind}"
    if step != "make":
        create(hub, name)
        before = hub.files(name)
    with fault(hub, step, kind, name, count=None) as struck:
        told, _ = alice.push(name, CHANGED)
    if kind in ("truncate", "lost_answer") and step in ("make", "upload", "commit") and isinstance(told, list):
        # What was done all the same is found out about, however the answer was lost.
        assert told[1] == hub.commits(name)[0].id
        return
    assert 1 < len(struck.hits) < 8
    assert told.startswith(f"nothing was pushed to '{name}': ")
    assert {429: "slow down", 500: "(500)", 503: "(503)"}.get(kind, "the connection to the Hub broke") in told
    if step == "make":
        assert name not in hub.repos() or held(hub, name) == {}
    else:
        assert hub.files(name) == before


@pytest.mark.parametrize("path", ["/api/models/{id}/refs", "/api/models/{id}/branch/*"])
@pytest.mark.parametrize("kind", ["drop", "lost_answer", 503])
def test_making_a_branch_outlives_a_passing_fault(hub, alice, path, kind):
    name = create(hub, f"alice/files-branch-{path.split('/')[4]}-{kind}")
    with hub.fault(kind, path=path.format(id=name)) as struck:
        told, _ = alice.push(name, CHANGED, revision="trial")
    assert len(struck.hits) == 1
    assert told[1] == hub.commits(name, "trial")[0].id


def test_a_pull_request_whose_answer_is_lost_is_not_opened_twice(hub, alice):
    name = create(hub, "alice/files-lost-pull")
    with hub.fault("lost_answer", path=f"*/{name}/commit/*"):
        told, _ = alice.push(name, CHANGED, create_pr=True)
    assert told[:3] == [f"{hub.endpoint}/{name}/discussions/1", hub.commits(name, "refs/pr/1")[0].id, "refs/pr/1"]
    with hub.fault("drop", path=f"*/{name}/commit/*"):
        told, _ = alice.push(name, {**CHANGED, "config.json": "[]"}, create_pr=True)
    assert told[2] == "refs/pr/2"
    assert len(hub.repo(name).pulls) == 2


def test_somebody_else_who_pushes_at_the_same_time_is_not_overwritten(hub, alice):
    name = create(hub, "alice/files-conflict")
    card = f"{CARD}{HUMAN}\nBob's words.\n"
    with hub.fault("conflict", path=f"*/{name}/commit/*", files={"README.md": card}):
        told, slept = alice.push(name, CHANGED)
    assert told == (
        f"nothing was pushed to '{name}': somebody else changed the repository at the same time; pull their version, "
        "and push again"
    )
    assert slept == []
    assert hub.commits(name)[0].author == "bob"
    assert alice.push(name, CHANGED)[0][1] == hub.commits(name)[0].id
    assert b"Bob's words." in hub.read(name, "README.md")


def test_a_commit_whose_answer_is_lost_is_found_under_somebody_elses(hub, alice):
    name = create(hub, "alice/files-buried")
    before = len(hub.commits(name))
    with (
        hub.fault("lost_answer", path=f"*/{name}/commit/*"),
        hub.fault("slow", path=f"/api/models/{name}/commits/*", seconds=1.0) as looking,
    ):

        def bury():
            while not looking.hits:
                time.sleep(0.01)
            hub.commit(name, {"elsewhere.txt": "by Bob"}, author="bob")

        somebody = threading.Thread(target=bury)
        somebody.start()
        told, _ = alice.push(name, CHANGED)
        somebody.join()
    newest, ours, *_ = hub.commits(name)
    assert (newest.author, told[1]) == ("bob", ours.id)
    assert len(hub.commits(name)) == before + 2


def test_where_nobody_can_see_whether_the_commit_arrived_it_is_said(hub, alice):
    name = create(hub, "alice/files-unseen")
    with (
        hub.fault("lost_answer", path=f"*/{name}/commit/*"),
        hub.fault(503, path=f"/api/models/{name}/commits/*", count=None),
    ):
        told, _ = alice.push(name, CHANGED)
    assert "whether the commit arrived cannot be seen" in told
    assert "push again then: what is there is not sent twice" in told
    assert alice.push(name, CHANGED)[0][1] is None


def test_a_longer_wait_than_two_minutes_is_left_to_the_user(hub, alice):
    name = create(hub, "alice/files-patience")
    with hub.fault(429, path=f"*/{name}/commit/*", retry_after=3600) as struck:
        told, slept = alice.push(name, CHANGED)
    assert "slow down (429)" in told
    assert (slept, len(struck.hits)) == ([], 1)


def test_a_card_that_cannot_be_read_is_not_overwritten(hub, alice):
    hub.create("alice/files-latin", {"README.md": "# Modèle\n".encode("latin-1")})
    told, _ = alice.push("alice/files-latin", FILES)
    assert "its README.md cannot be read: it is no UTF-8 text; mend it there" in told
    assert held(hub, "alice/files-latin") == {"README.md": "# Modèle\n".encode("latin-1")}
    name = create(hub, "alice/files-gated")
    with hub.fault(403, path=f"/{name}/resolve/*", count=None):
        told, _ = alice.push(name, CHANGED)
    assert "its README.md cannot be read" in told
    assert hub.commits(name)[0].title != "Push"
