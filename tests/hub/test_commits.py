"""A push is one commit or none: whatever fails, readers see the old version or the new one."""

import pytest

from hf_ser.errors import InputError
from hf_ser.hub.blocks import combine
from hf_ser.hub.commits import push_files
from pushing import Pusher

CARD = "---\ntags:\n- emotion\n---\n\n# A model\n"
# The NUL byte makes it a large file.
FILES = {"README.md": CARD, "config.json": "{}", "model.safetensors": [0, 1, 2] * 1000}
CHANGED = {**FILES, "README.md": CARD.replace("emotion", "speech"), "model.safetensors": [0, 5] * 999}
HUMAN = "\nBy a human.\n"


def stored(files):
    """The contents of a repository after a push to an empty one."""
    raw = {path: text.encode() if isinstance(text, str) else bytes(text) for path, text in files.items()}
    return {**raw, "README.md": combine(files["README.md"], None).encode()} if "README.md" in files else raw


def held(hub, repo_id, **where):
    return {path: content for path, content in hub.files(repo_id, **where).items() if path != ".gitattributes"}


def create(hub, name):
    """A repository that was pushed to, and whose card a person edited."""
    hub.create(name, {**stored(FILES), "README.md": combine(CARD, None) + HUMAN})
    return name


@pytest.fixture(scope="module")
def alice(hub):
    with Pusher(hub, hub.token("alice")) as pusher:
        yield pusher


@pytest.fixture(scope="module")
def bob(hub):
    with Pusher(hub, hub.token("bob")) as pusher:
        yield pusher


def test_one_commit_then_none_then_the_changes(hub, alice):
    name = "alice/files-course"
    files = {**FILES, "old/a.json": "{}", "old/b.json": "{}"}
    url, commit, pull_request, uploaded, deleted = alice.push(name, files)
    assert url == f"{hub.endpoint}/{name}"
    assert hub.repo(name).private
    # The Hub itself makes the first commit of a repository.
    assert [commit] == [one.id for one in hub.commits(name)[:-1]]
    assert (uploaded, pull_request, deleted) == (sorted(files), None, [])

    assert alice.push(name, files) == [url, None, None, [], []]
    assert len(hub.commits(name)) == 2

    told = alice.push(name, {"README.md": CARD, "config.json": '{"a": 1}'}, stale=("old/a.json", "config.json"))
    assert told[1:3] == [hub.commits(name)[0].id, None]
    assert told[4] == ["old/a.json"]
    assert held(hub, name) == {**stored(FILES), "config.json": b'{"a": 1}', "old/b.json": b"{}"}


def test_branches_and_pull_requests(hub, alice, bob):
    name = create(hub, "alice/files-branches")
    first = hub.commits(name)[0].id
    assert alice.push(name, CHANGED, revision="trial/one")[1] == hub.commits(name, "trial/one")[0].id
    assert held(hub, name, revision="trial/one")["model.safetensors"] == bytes(CHANGED["model.safetensors"])
    assert alice.push(name, CHANGED, revision="trial/one")[1] is None
    told = bob.push(name, CHANGED, create_pr=True)
    assert (told[0], told[2]) == (f"{hub.endpoint}/{name}/discussions/1", "refs/pr/1")
    alice.push(name, {**CHANGED, "config.json": "[]"}, revision="refs/pr/1")
    assert hub.read(name, "config.json", "refs/pr/1") == b"[]"
    assert "revision 'nowhere' does not exist" in alice.push(name, CHANGED, create_pr=True, revision="nowhere")
    assert "the token lacks permission" in bob.push(name, FILES)
    assert "the token lacks permission" in bob.push("alice/files-no_such", FILES)
    assert hub.commits(name)[0].id == first
    assert "alice/files-no_such" not in hub.repos()


def test_the_hubs_own_card_of_a_new_space_is_replaced(hub, alice):
    card = "---\ntitle: eer\nsdk: static\n---\n\n# EER\n"
    alice.push("alice/files-eer", {"README.md": card}, repo_type="space", space_sdk="static")
    assert held(hub, "alice/files-eer", kind="space") == stored({"README.md": card})


def test_what_cannot_be_pushed_at_all(hub, alice, tmp_path):
    for name in ("no name", "name", "a/b/c", "../x"):
        assert f"repo_id '{name}' is not a valid repository id; give USER/NAME" in alice.push(name, FILES)
    with pytest.raises(InputError, match=r"'/etc/passwd' is not a path in a repository"):
        push_files("me/x", {"/etc/passwd": b""}, message="x")
    (tmp_path / "secret").write_text("private")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for missing in ("link", "missing"):
        with pytest.raises(InputError, match="is missing, or is not a regular file"):
            push_files("me/x", {"a": tmp_path / missing}, message="x")
    with Pusher(hub, None) as nobody, Pusher(hub, hub.token("alice", "read")) as reader:
        assert "not logged in; run `hf auth login`" in nobody.push("alice/files-x", FILES)
        assert "the token lacks permission" in reader.push("alice/files-x", FILES)
    with Pusher(hub, "hf_unknownUnknown0") as wrong, Pusher(hub, hub.token(), HF_HUB_OFFLINE="1") as offline:
        assert "the token was rejected" in wrong.push("alice/files-x", FILES)
        assert "offline mode is on; unset HF_HUB_OFFLINE" in offline.push("alice/files-x", FILES)
        assert "hf_unknownUnknown0" not in wrong.log()
    assert "alice/files-x" not in hub.repos()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("# Modèle\n".encode("latin-1"), "its README.md is not UTF-8 text"),
        (b"---\ntags: [\n---\n", "the front matter of README.md cannot be read (line 2"),
        (b"---\n- a list\n---\n", "it is not a mapping"),
    ],
)
def test_a_card_that_cannot_be_read_is_not_overwritten(hub, alice, card, words):
    name = f"alice/files-unreadable-{len(card)}"
    hub.create(name, {"README.md": card})
    assert words in alice.push(name, FILES)
    assert held(hub, name) == {"README.md": card}


def test_a_card_that_the_hub_rejects_is_not_pushed(hub, alice):
    name = create(hub, "alice/files-rejected")
    told = alice.push(name, {**CHANGED, "README.md": "---\nlicense: no-such-licence\n---\n"})
    assert told.startswith(f"nothing was pushed to '{name}': ")
    assert hub.commits(name)[0].title != "Push"


# --- faults ---

# Requests of a push: method and path.
STEPS = {
    "look": ("GET", "/api/models/{id}"),
    "make": ("POST", "/api/repos/create"),
    "card": ("GET", "/{id}/resolve/*/README.md"),
    "preupload": ("POST", "/api/models/{id}/preupload/*"),
    "batch": ("POST", "/{id}.git/info/lfs/objects/batch"),
    "upload": ("PUT", "/lfs/*"),
    "commit": ("POST", "/api/models/{id}/commit/*"),
}
CASES = [(step, kind) for step in STEPS for kind in (429, 503, "drop")]


def fault(hub, step, kind, name, **how):
    method, path = STEPS[step]
    if kind == 429:
        how["retry_after"] = 7
    return hub.fault(kind, method=method, path=path.format(id=name), **how)


@pytest.mark.parametrize(("step", "kind"), CASES)
def test_a_passing_fault_is_retried(hub, alice, step, kind):
    name = f"alice/files-passing-{step}-{kind}"
    if step != "make":
        create(hub, name)
    with fault(hub, step, kind, name) as struck:
        told = alice.push(name, CHANGED)
    assert len(struck.hits) == 1
    assert [commit.title for commit in hub.commits(name)].count("Push") == 1
    assert told[1] == hub.commits(name)[0].id
    content = held(hub, name)
    assert content["model.safetensors"] == bytes(CHANGED["model.safetensors"])
    assert step == "make" or HUMAN.encode() in content["README.md"]


@pytest.mark.parametrize(("step", "kind"), CASES)
def test_a_lasting_fault_is_one_line_and_changes_nothing(hub, alice, step, kind):
    name = f"alice/files-lasting-{step}-{kind}"
    before = None
    if step != "make":
        before = hub.files(create(hub, name))
    with fault(hub, step, kind, name, count=None) as struck:
        told = alice.push(name, CHANGED)
    assert 1 < len(struck.hits) < 8
    assert told.startswith(f"nothing was pushed to '{name}': ")
    assert {429: "(429)", 503: "(503)"}.get(kind, "the connection to the Hub failed") in told
    assert hub.files(name) == before if before else name not in hub.repos()


def test_somebody_elses_push_meanwhile_is_not_overwritten(hub, alice):
    name = create(hub, "alice/files-conflict")
    card = f"{combine(CARD, None)}{HUMAN}\nBob's words.\n"
    with hub.fault("conflict", path=f"*/{name}/commit/*", files={"README.md": card}):
        told = alice.push(name, CHANGED)
    assert told == (
        f"nothing was pushed to '{name}': the repository changed meanwhile; pull the new version, then push again"
    )
    assert hub.commits(name)[0].author == "bob"
    assert alice.push(name, CHANGED)[1] == hub.commits(name)[0].id
    assert b"Bob's words." in hub.read(name, "README.md")


@pytest.mark.parametrize("options", [{}, {"create_pr": True}])
def test_a_commit_whose_answer_is_lost_is_reported_as_unknown(hub, alice, options):
    name = create(hub, f"alice/files-lost-{len(options)}")
    with hub.fault("lost_answer", path=f"*/{name}/commit/*"):
        told = alice.push(name, CHANGED, **options)
    assert told.startswith(f"it is unknown whether the commit to '{name}' arrived: ")
    assert "push again: what is there is not sent twice" in told
    if options:
        assert len(hub.repo(name).pulls) == 1
    else:
        assert [commit.title for commit in hub.commits(name)].count("Push") == 1
        assert alice.push(name, CHANGED)[1] is None
