"""Data sets on a Hub: one commit or none, private unless the licences allow otherwise."""

import json
import shutil

import pytest

from dataset_files import noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.data_card import card_of_repository
from hf_ser.errors import InputError
from hf_ser.hub.blocks import combine
from hf_ser.hub.publish import publish_dataset

PUBLISH = """
import json, sys
from hf_ser.hub.publish import publish_dataset
from hf_ser.errors import InputError

for folder, repo_id, options in json.loads(sys.argv[1]):
    try:
        done = publish_dataset(folder, repo_id, **options)
        print(json.dumps([done.commit, len(done.uploaded), list(done.deleted)]))
    except InputError as error:
        print(json.dumps(str(error)))
"""
COUNT = """
import datasets, sys
print({part: len(rows) for part, rows in datasets.load_dataset(sys.argv[1], "fold_3").items()})
"""


def publish(hub, *pushes, **options) -> list:
    jobs = [(str(folder), repo_id, more) for folder, repo_id, more in pushes]
    return [json.loads(line) for line in hub.run(PUBLISH, json.dumps(jobs), **options).splitlines()]


def commits(hub, repo_id: str) -> list[str]:
    return [commit.id for commit in hub.commits(repo_id, kind="dataset")]


@pytest.fixture(scope="module")
def crema_d(tmp_path_factory):
    """A data set of a corpus that may be passed on, and the same with a file less."""
    root = tmp_path_factory.mktemp("publish")
    for seed, speaker in enumerate(range(1001, 1092)):
        write_wav(root / f"in/{speaker}_DFA_ANG_XX.wav", noise(seed, 200))
    whole = build_dataset(out=root / "whole", crema_d=root / "in").folder
    smaller = shutil.copytree(whole, root / "smaller")
    next(iter((smaller / "data").glob("*test*"))).unlink()
    return whole, smaller


def test_one_commit_then_none_then_one_with_what_is_stale_removed(hub, built, crema_d):
    token = hub.token("alice")
    first, second = publish(hub, *[(built, "alice/private", {})] * 2, token=token)
    history = commits(hub, "alice/private")
    assert first[0] == history[0]
    # The repository begins with a commit of its own.
    assert len(history) == 2
    assert second == [None, 0, []]
    repository = hub.repo("alice/private", kind="dataset")
    assert repository.private
    stored = hub.files("alice/private", kind="dataset")
    local = {path.relative_to(built).as_posix(): path.read_bytes() for path in built.rglob("*") if path.is_file()}
    ours = {path: content for path, content in stored.items() if path != ".gitattributes"}
    card = combine(card_of_repository(local["README.md"].decode(), "alice/private"), None)
    assert ours == {**local, "README.md": card.encode()}
    assert not [path for path in stored if path.endswith(".py")]

    whole, smaller = crema_d
    answers = publish(hub, (whole, "alice/changing", {}), (smaller, "alice/changing", {}), token=token)
    missing = {path.name for path in (whole / "data").iterdir()} - {path.name for path in (smaller / "data").iterdir()}
    assert answers[1][2] == [f"data/{name}" for name in missing]
    assert len(commits(hub, "alice/changing")) == 3


def test_public_needs_the_closed_corpora_by_name(hub, built, crema_d):
    public = {"private": False}
    answers = publish(
        hub,
        (built, "alice/public", public),
        (built, "alice/public", {**public, "acknowledge_licences": ["savee"]}),
        (built, "alice/public", {**public, "acknowledge_licences": ["savee", "tess"]}),
        (built, "alice/public", {}),
        (crema_d[0], "alice/open", public),
        token=hub.token("alice"),
    )
    assert "savee: No licence text" in answers[0]
    assert "tess: Creative Commons" in answers[0]
    assert "--acknowledge-licences tess,savee" in answers[0]
    assert "savee: No licence" not in answers[1]
    assert answers[2][0] is not None
    # Private is asked for, but the repository that exists is public.
    assert "keep it private" in answers[3]
    assert answers[4][0] is not None
    assert not hub.repo("alice/public", kind="dataset").private


def test_a_failed_push_leaves_the_old_version_loadable(hub, crema_d, tmp_path):
    whole, smaller = crema_d
    name = "alice/broken"
    hub.create_from_folder(name, whole, kind="dataset")
    before = commits(hub, name)
    changed = shutil.copytree(smaller, tmp_path / "changed")
    (changed / "README.md").write_text((changed / "README.md").read_text() + "\nmore\n")
    with hub.fault(400, path="*/commit/*", count=None):
        (answer,) = publish(hub, (changed, name, {}), token=hub.token("alice"))
    assert answer.startswith(f"nothing was pushed to '{name}': ")
    assert commits(hub, name) == before
    assert hub.run(COUNT, name).startswith("{'train'")


def test_what_is_no_built_data_set_is_refused_before_any_request(tmp_path, crema_d):
    with pytest.raises(InputError, match="is not a built data set"):
        publish_dataset(tmp_path, "me/x")
    with pytest.raises(InputError, match=r"unknown corpora \(save\)"):
        publish_dataset(crema_d[0], "me/x", acknowledge_licences=["save"])


def test_command_line_builds_and_pushes(hub, tmp_path):
    for seed, speaker in enumerate(("DC", "JE", "JK", "KL")):
        write_wav(tmp_path / f"in/{speaker}_a01.wav", noise(seed))
    code = "import sys; from hf_ser.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["build", "--savee", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--push-to", "alice/cli"]
    printed = hub.run(code, *words, token=hub.token("alice"))
    assert f"/datasets/alice/cli: commit {commits(hub, 'alice/cli')[0]}" in printed
    assert hub.repo("alice/cli", kind="dataset").private
