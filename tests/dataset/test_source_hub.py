"""A data set named by its Hub id: what fails for a moment is asked again, what fails for good is one line."""

import json

CODE = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from hf_ser import InputError
from hf_ser.dataset.source import open_dataset

sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.02))

def answer(case):
    name, options = case
    try:
        return sorted(open_dataset(name, **options).parts)
    except InputError as error:
        return str(error)

print(json.dumps([answer(case) for case in json.loads(sys.argv[1])]))
"""

PARTS = ["test", "train", "validation"]


def fill(hub, toy, folder, *names):
    from datasets.table import embed_table_storage

    for part, rows in toy.items():
        embedded = rows.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
        embedded.to_parquet(str(folder / f"{part}-00000-of-00001.parquet"))
    for name in names:
        hub.create_from_folder(name, folder, kind="dataset", private=name.startswith("bob"))


def ask(hub, cases, **how):
    answers = json.loads(hub.run(CODE, json.dumps(cases), token=hub.token("alice", "read"), **how).splitlines()[-1])
    for found in answers:
        assert found == PARTS or ("\n" not in found and "Token" not in found and found.startswith("data set '"))
    return answers


def test_faults_and_refusals(hub, toy, tmp_path):
    names = ("busy", "broken", "down", "gone-away", "cut", "kept")
    fill(hub, toy, tmp_path / "data", *(f"alice/{name}-speech" for name in names), "bob/secret-speech")
    hub.create("bob/gated-speech", {"a.parquet": b"x"}, kind="dataset").gated = "auto"
    hub.fault(429, path="/api/datasets/alice/busy-speech*", retry_after=0)
    hub.fault("drop", path="/api/datasets/alice/broken-speech*")
    hub.fault(503, path="/api/datasets/alice/down-speech*", count=None)
    hub.fault("drop", path="/api/datasets/alice/gone-away-speech*", count=None)
    hub.fault("truncate", method="GET", path="*/alice/cut-speech/resolve/*.parquet")
    cases = {
        "alice/busy-speech": ({}, PARTS),
        "alice/broken-speech": ({}, PARTS),
        "alice/cut-speech": ({}, PARTS),
        "alice/kept-speech": ({}, PARTS),
        "alice/down-speech": ({}, "the Hub fails at the moment (503); try again later"),
        "alice/gone-away-speech": ({}, "the connection to the Hub failed"),
        "alice/no-speech": ({}, "no such repository, or it is private"),
        "bob/secret-speech": ({}, "no such repository, or it is private"),
        "bob/gated-speech": ({}, "the repository is gated"),
        "alice/kept-speech ": ({"revision": "v9"}, "revision 'v9' does not exist"),
    }
    asked = [(name.strip(), options) for name, (options, _) in cases.items()]
    answers = ask(hub, asked, home=tmp_path / "home")
    for (name, (_, expected)), found in zip(cases.items(), answers, strict=True):
        assert (found == expected) if expected is PARTS else (expected in found), (name, found)
    offline = ask(hub, [("alice/kept-speech", {}), ("alice/no-speech", {})], home=tmp_path / "home", HF_HUB_OFFLINE="1")
    assert offline[0] == PARTS
    assert "offline mode is on" in offline[1]
