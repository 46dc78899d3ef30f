"""Models on the Hub, loaded with this library and without it: the card's snippets as printed, files at one commit."""

import ast
import copy
import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from golden import read_records
from runs import trained_model
from safetensors.torch import load_file, save_file

from hf_ser.hub.card import render_model_card
from hf_ser.inference.classifier import Classifier
from hf_ser.models.checkpoint import merge, open_model, save_model

# Runs snippets as they stand in a card, each by itself, and gives back what they print.
AS_PRINTED = """
import contextlib, io, json, sys
if sys.argv[1] == "plain":
    sys.modules["hf_ser"] = None  # Importing this library is an error here.
printed = {}
for name, code in json.loads(sys.argv[2]).items():
    lines = io.StringIO()
    with contextlib.redirect_stdout(lines):
        exec(code, {})
    printed[name] = lines.getvalue().splitlines()
print(json.dumps(printed))
"""

LOAD = """
from hf_ser import load
print(load({id!r}, {option})("clip.wav"))
"""

REFUSED = """
from hf_ser import InputError, load
try:
    load({id!r})
except InputError as error:
    print(error)
"""


def saved_model(base, kind, commit, folder):
    """Save a model that training moved; return the classifier that it is."""
    model, feature_extractor = trained_model(base, {"merged": "lora_qkv"}.get(kind, kind), ("sad", "bored", "angry"))
    classifier = Classifier(copy.deepcopy(model), feature_extractor)
    if kind == "merged":
        save_model(model, folder / "adapter", feature_extractor, base_name=str(base))
        model = merge(open_model(folder / "adapter")[0])
        shutil.rmtree(folder / "adapter")
    save_model(model, folder, feature_extractor, base_name="alice/pull-base", base_revision=commit)
    return classifier


@pytest.fixture(scope="module")
def shelf(hub, encoder, tmp_path_factory):
    """Models of each kind with their cards on the Hub, on a base that has moved on since; and what each must say."""
    base = encoder()
    hub.create_from_folder("alice/pull-base", base)
    commit = hub.commits("alice/pull-base")[0].id
    home = tmp_path_factory.mktemp("clip")
    weights = {name: 2 * tensor for name, tensor in load_file(str(base / "model.safetensors")).items()}
    save_file(weights, str(home / "other.safetensors"), {"format": "pt"})
    hub.commit("alice/pull-base", {"model.safetensors": (home / "other.safetensors").read_bytes()})
    noise = np.random.default_rng(0).normal(scale=0.1, size=(44100, 2))
    soundfile.write(home / "clip.wav", noise, 44100)
    found = {"commit": commit, "home": home, "scores": {}, "ours": {}, "plain": {}}
    for kind in ("full", "lora_qkv", "lora_classifier", "merged"):
        folder, id = tmp_path_factory.mktemp(kind), f"alice/pull-{kind}"
        found["scores"][kind] = saved_model(base, kind, commit, folder)(home / "clip.wav")["scores"]
        run, metrics = read_records("lora_qkv" if kind == "merged" else kind)
        run["model"].update(name="alice/pull-base", local=False, revision=commit)
        if kind == "merged":
            run["model"]["saved"] = "merged"
        card = render_model_card(run, metrics, repo_id=id)
        (folder / "README.md").write_text(card)
        hub.create_from_folder(id, folder)
        found["ours"][kind], found["plain"][kind] = re.findall(r"```python\n(.*?)```", card, re.S)
    return found


def scores_of(line):
    """Read what a snippet printed: what `load` answers, a dictionary of scores, or a pipeline's list."""
    answer = ast.literal_eval(line)
    if isinstance(answer, list):
        return {found["label"]: found["score"] for found in answer}
    return answer.get("scores", answer)


def check(printed, shelf, lines):
    assert set(printed) == set(shelf["scores"])
    for kind, answers in printed.items():
        assert len(answers) == lines[kind], kind
        for line in answers:
            assert scores_of(line) == pytest.approx(shelf["scores"][kind], abs=2e-6), kind


# An adapter's base that cannot be read: its name, its commit, and why.
BASES = {
    "gone": ("alice/vanished", "0" * 40, "no such repository, or it is private"),
    "secret": ("bob/secret-base", "0" * 40, "no such repository, or it is private"),
    "gated": ("bob/gated-base", "main", "the repository is gated; request access on its page"),
    "local": (
        "alice/pull-base",
        None,
        "was trained on the local folder 'alice/pull-base', and there is no such folder",
    ),
    "rewound": ("alice/pull-base", "0" * 40, f"revision '{'0' * 40}' does not exist"),
}


@pytest.fixture(scope="module")
def pulled(hub, shelf, tmp_path_factory):
    """The home of a process that loaded each kind once, and what it printed; refusals among it."""
    files = hub.files("alice/pull-lora_qkv")
    hub.create("bob/secret-base", {"config.json": files["config.json"]}, private=True)
    hub.create("bob/gated-base", {"config.json": files["config.json"]}).gated = "auto"
    codes = dict(shelf["ours"])
    for name, (base, revision, _) in BASES.items():
        settings = json.loads(files["adapter_config.json"])
        settings |= {"base_model_name_or_path": base, "revision": revision}
        hub.create(f"alice/pull-{name}", {**files, "adapter_config.json": json.dumps(settings)})
        codes[name] = REFUSED.format(id=f"alice/pull-{name}")
    # Private, adapter and base; and a tag of a repository whose newest commit holds nothing that loads.
    settings = json.loads(files["adapter_config.json"]) | {"base_model_name_or_path": "alice/pull-closed-base"}
    settings["revision"] = "main"
    base = hub.files("alice/pull-base", shelf["commit"])
    hub.create("alice/pull-closed-base", base, private=True)
    hub.create("alice/pull-closed", {**files, "adapter_config.json": json.dumps(settings)}, private=True)
    codes["closed"] = LOAD.format(id="alice/pull-closed", option=f"token={hub.token('alice', 'read')!r}")
    hub.create("alice/pull-tagged", hub.files("alice/pull-full"))
    hub.repo("alice/pull-tagged").tags["v1"] = hub.commits("alice/pull-tagged")[0].id
    hub.commit("alice/pull-tagged", {"config.json": "{}"})
    codes["tagged"] = LOAD.format(id="alice/pull-tagged", option="revision='v1'")
    home, start = tmp_path_factory.mktemp("home"), len(hub.requests)
    printed = json.loads(hub.run(AS_PRINTED, "ours", json.dumps(codes), home=home, cwd=shelf["home"]).splitlines()[-1])
    others = {name: printed.pop(name) for name in (*BASES, "closed", "tagged")}
    return {"home": home, "printed": printed, "others": others, "requests": hub.requests[start:]}


def test_every_file_is_asked_for_by_its_commit(pulled):
    """The libraries below, left alone, ask for the main branch again and again: for other commits, it may be."""
    files = [request.path for request in pulled["requests"] if "/resolve/" in request.path]
    assert len(files) > 20
    assert not [path for path in files if not re.search(r"/resolve/[0-9a-f]{40}/[\w.]+$", path)]
    assert not [path for path in files if path.endswith((".bin", ".py", "README.md"))]


def test_load_as_printed(pulled, shelf):
    check(pulled["printed"], shelf, dict.fromkeys(shelf["scores"], 1))


@pytest.mark.parametrize(("name", "kind"), [("closed", "lora_qkv"), ("tagged", "full")])
def test_token_and_revision(pulled, shelf, name, kind):
    (line,) = pulled["others"][name]
    assert scores_of(line) == pytest.approx(shelf["scores"][kind], abs=2e-6)


@pytest.mark.parametrize("name", BASES)
def test_an_adapter_whose_base_cannot_be_read_names_both(pulled, name):
    base, _, words = BASES[name]
    (line,) = pulled["others"][name]
    assert line.startswith(f"adapter 'alice/pull-{name}' ")
    assert f"'{base}'" in line
    assert words in line


def test_everything_loads_again_offline(hub, pulled, shelf):
    """The base of an adapter, too, at the commit that the adapter names."""
    before = len(hub.requests)
    how = {"home": pulled["home"], "cwd": shelf["home"], "HF_HUB_OFFLINE": "1"}
    printed = hub.run(AS_PRINTED, "ours", json.dumps(shelf["ours"]), **how)
    assert json.loads(printed.splitlines()[-1]) == pulled["printed"]
    assert len(hub.requests) == before


def test_the_plain_snippets_as_printed_need_nothing_of_this_library(hub, shelf):
    for kind, code in shelf["plain"].items():
        assert "hf_ser" not in code
        assert (f'revision="{shelf["commit"]}"' in code) == (kind in ("lora_qkv", "lora_classifier"))
    printed = hub.run(AS_PRINTED, "plain", json.dumps(shelf["plain"]), cwd=shelf["home"])
    # A checkpoint's card shows the pipeline, and the same step by step.
    lines = {kind: 1 if kind in ("lora_qkv", "lora_classifier") else 2 for kind in shelf["plain"]}
    check(json.loads(printed.splitlines()[-1]), shelf, lines)
