"""200 pushes under random faults: every state that a reader could see is one whole model with its own card."""

import collections
import json
import random
import shutil
import sys
import time

import pytest

from hf_ser import finetune, training_arguments
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.models.probe import probe_difference
from pushing import PUSH_MODELS, Pusher

PUSHES = 200
SEED = 20

READ = """
import json, sys
from hf_ser.hub.proof import answer

for line in sys.stdin:
    folder, token = json.loads(line)
    print("TOLD", json.dumps(answer(folder, token)), flush=True)
"""
PATHS = ("/api/models/{id}", "/api/repos/create", "/api/models/{id}/tree/*", "/{id}/resolve/*", "/api/validate-yaml",
         "/api/models/{id}/preupload/*", "/{id}.git/info/lfs/*", "/lfs/*", "/api/models/{id}/commit*", "/api/whoami-v2",
         "/api/models/{id}/commits/*", "*")  # fmt: skip
KINDS = (429, 500, 503, "drop", "truncate", "lost_answer", "slow", "conflict")


@pytest.fixture(scope="module")
def sources(toy, encoder, tmp_path_factory):
    """What is pushed, by name: folder and options. Two checkpoints, an adapter, and the same merged."""
    top = tmp_path_factory.mktemp("runs")

    def run(name, recipe, **changes):
        arguments = training_arguments(
            recipe, top, num_train_epochs=1, per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True, **changes
        )
        finetune(encoder(), toy, recipe=recipe, output_dir=top / name, args=arguments, cache_features=False)
        return str(top / name)

    adapter = run("adapter", "lora_qkv")
    return {
        "full": (run("full", "full"), {}),
        "other": (run("other", "full", seed=7), {}),
        "adapter": (adapter, {"base_model": "alice/stress-base"}),
        "merged": (adapter, {"merged": True}),
    }


def draw_fault(hub, draw, repo_id, line):
    kind = draw.choice(KINDS)
    path = draw.choice(PATHS).format(id=repo_id)
    how = {
        "count": draw.choice((1, 1, 2, 3, 40)),
        "skip": draw.choice((0, 0, 1, 3)),
        "rate": draw.choice((1, 0.5, 0.2)),
        "seed": draw.randrange(10**6),
    }
    if kind == "slow":
        how["seconds"] = 0.05
    if kind == "conflict":
        files = {"README.md": hub.read(repo_id, "README.md").decode() + line} if has_card(hub, repo_id) else {}
        return hub.fault(kind, path=f"/api/models/{repo_id}/commit/*", files={"notes.txt": line, **files})
    return hub.fault(kind, path=path, **how)


def has_card(hub, repo_id):
    return repo_id in hub.repos() and "README.md" in hub.paths(repo_id)


def check_state(hub, reader, repo_id, commit, folder, sources):
    """Load one commit as anybody could, and compare it with what its own record and card say."""
    files = hub.files(repo_id, commit.id)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    found = reader.ask([str(folder), hub.token("alice")])
    shutil.rmtree(folder)
    assert "error" not in found, (commit, found)
    run = json.loads(files["run.json"])
    saved = run["model"]["saved"]
    assert found["labels"] == run["labels"]
    assert probe_difference(run["probe"]["logits"], found["logits"]) <= (1e-5 if saved == "merged" else 1e-6)
    assert ("adapter_config.json" in files) == ("adapter_model.safetensors" in files) == (saved == "adapter")
    assert ("model.safetensors" in files) == (saved != "adapter")
    card = files["README.md"].decode()
    assert f"library_name: {'peft' if saved == 'adapter' else 'transformers'}\n" in card
    assert f"`{run['recipe']['name']}`" in card
    assert ("The adapter is merged into the base" in card) == (saved == "merged")
    assert f'load("{repo_id}")' in files[GENERATED_CARD].decode()
    assert json.loads(files["metrics.json"])["test"]
    return saved


def weights_of(hub, repo_id, commit):
    files = hub.files(repo_id, commit)
    return files.get("model.safetensors") or files["adapter_model.safetensors"]


@pytest.mark.slow
def test_every_state_that_a_reader_could_see_loads(hub, encoder, sources, tmp_path, capsys):
    hub.create_from_folder("alice/stress-base", encoder())
    draw = random.Random(SEED)
    counts, hits, seen, lines = collections.Counter(), collections.Counter(), {}, collections.defaultdict(list)
    begin = time.perf_counter()
    with Pusher(hub, hub.token("alice"), PUSH_MODELS) as pusher, Pusher(hub, hub.token("bob"), READ) as reader:
        for number in range(PUSHES):
            repo_id = f"lab/stress-{number // 25}"
            name = draw.choice(tuple(sources))
            source, options = sources[name]
            line = f"\nBob's line {number}.\n"
            faults = [draw_fault(hub, draw, repo_id, line) for _ in range(draw.choice((0, 1, 1, 2, 3)))]
            told = pusher.ask([source, repo_id, False, options])
            hub.clear_faults()
            for fault in faults:
                hits[fault.kind] += len(fault.hits)
            history = hub.commits(repo_id) if repo_id in hub.repos() else []
            new = [commit for commit in history[:-1] if commit.id not in seen]
            mine = [commit for commit in new if commit.author == "alice"]
            if isinstance(told, str):
                assert "\n" not in told
                unseen = "whether the commit arrived cannot be seen" in told
                assert unseen or (not mine and ("nothing was pushed" in told or "base model" in told)), told
                counts["unseen" if unseen else "refused"] += 1
            else:
                assert [commit.id for commit in mine] == ([told["commit"]] if told["commit"] else []), (told, new)
                counts["pushed" if told["commit"] else "unchanged"] += 1
                expected = json.loads(hub.read(repo_id, "run.json", told["commit"] or "main"))["recipe"]["name"]
                assert expected == ("full" if name in ("full", "other") else "lora_qkv")
            for commit in reversed(new):
                seen[commit.id] = True
                counts["states"] += 1
                tree = hub.paths(repo_id, commit.id)
                if commit.author == "bob":
                    lines[repo_id].append(hub.read(repo_id, "notes.txt", commit.id).decode())
                if commit.author == "bob" and "run.json" not in tree:
                    continue
                check_state(hub, reader, repo_id, commit, tmp_path / "state", sources)
            # What a human wrote into the card stays, whatever was pushed over it.
            if has_card(hub, repo_id):
                card = hub.read(repo_id, "README.md").decode()
                written = [text for text in lines[repo_id] if any(
                    text in hub.read(repo_id, "README.md", commit.id).decode()
                    for commit in history if commit.author == "bob" and "README.md" in commit.tree)]  # fmt: skip
                assert all(card.count(text.strip()) == 1 for text in written), repo_id
    with capsys.disabled():
        struck = ", ".join(f"{kind} {number}" for kind, number in sorted(hits.items(), key=str))
        sys.stdout.write(
            f"\n{PUSHES} pushes, seed {SEED}: {counts['pushed']} commits, {counts['unchanged']} unchanged, "
            f"{counts['refused']} refused, {counts['unseen']} unseen; {counts['states']} states read; "
            f"{sum(hits.values())} faults struck ({struck}); {time.perf_counter() - begin:.0f} s\n"
        )
    assert counts["pushed"] > PUSHES / 4
    assert counts["refused"] > 5
    assert set(hits) == set(KINDS)
