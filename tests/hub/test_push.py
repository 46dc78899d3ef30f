"""A model on the Hub: what is pushed, what is refused, and that the check distinguishes two models."""

import json
import shutil

import pytest
import torch
from runs import write_run
from safetensors.torch import load, load_file, save_file

from hf_ser.errors import InputError
from hf_ser.hub.blocks import END
from hf_ser.hub.push import push_to_hub
from hf_ser.labels import EMOTIONS
from pushing import PUSH_MODELS, Pusher

RECORDS = {"run.json", "metrics.json", "predictions.csv", "report.md", "confusion.png"}
ALWAYS = {"README.md", "config.json", "preprocessor_config.json"}
ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture(scope="module")
def runs(encoder, tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    for name in ("full", "lora_qkv", "lora_classifier"):
        write_run(top / name, encoder(), name)
    return top


@pytest.fixture(scope="module")
def pusher(hub, encoder):
    hub.create_from_folder("alice/push-encoder", encoder())
    with Pusher(hub, hub.token("alice"), PUSH_MODELS) as process:
        yield process


@pytest.fixture
def push(pusher):
    def ask(source, repo_id, *, fresh=False, **options):
        source = [source[0], str(source[1])] if isinstance(source, tuple) else str(source)
        return pusher.ask([source, repo_id, fresh, options])

    return ask


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def held(hub, repo_id, **where):
    return set(hub.paths(repo_id, **where)) - {".gitattributes"}


# --- what is pushed ---


def test_a_checkpoint_is_pushed_whole_and_nothing_else(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "run")
    for name in ("training_args.bin", "notes.txt", ".env", "optimizer.pt"):
        (folder / name).write_text("not for others")
    (folder / "checkpoints" / "checkpoint-4").mkdir(parents=True)
    (folder / "checkpoints" / "checkpoint-4" / "model.safetensors").write_text("not for others")
    before = contents(folder)
    told = push(folder, "alice/push-full", fresh=True)
    assert push(folder, "alice/push-public", private=False)["commit"]
    assert not hub.repo("alice/push-public").private
    assert told["url"] == f"{hub.endpoint}/alice/push-full"
    assert told["commit"] == hub.commits("alice/push-full")[0].id
    assert hub.repo("alice/push-full").private
    assert held(hub, "alice/push-full") == ALWAYS | RECORDS | {"model.safetensors"}
    assert hub.read("alice/push-full", "model.safetensors") == (folder / "model.safetensors").read_bytes()
    assert contents(folder) == before
    assert push(folder, "alice/push-full")["commit"] is None


def test_no_local_path_is_pushed(hub, push, runs, encoder):
    push(runs / "full", "alice/push-paths")
    push(runs / "lora_qkv", "alice/push-paths", base_model="alice/push-encoder", revision="adapter")
    for revision in ("main", "adapter"):
        for path, content in hub.files("alice/push-paths", revision).items():
            for place in (runs, encoder()):
                assert str(place).encode() not in content, path
    assert json.loads(hub.read("alice/push-paths", "run.json"))["model"]["name"] == encoder().name
    assert hub.read("alice/push-paths", "report.md").decode() == f"# Report on `{encoder().name}`\n"


@pytest.mark.parametrize("recipe", ["lora_qkv", "lora_classifier"])
def test_an_adapter_names_its_base_on_the_hub_at_its_commit(hub, push, runs, recipe):
    name = f"alice/push-{recipe}"
    assert push(runs / recipe, name, base_model="alice/push-encoder")["deleted"] == []
    assert held(hub, name) == ALWAYS | RECORDS | ADAPTER
    commit = hub.commits("alice/push-encoder")[0].id
    settings = json.loads(hub.read(name, "adapter_config.json"))
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("alice/push-encoder", commit)
    model = json.loads(hub.read(name, "run.json"))["model"]
    assert (model["name"], model["revision"], model["saved"]) == ("alice/push-encoder", commit, "adapter")
    card = hub.read(name, "README.md").decode()
    assert "base_model: alice/push-encoder\nbase_model_relation: adapter\n" in card
    assert f'revision="{commit}"' in card


def test_a_merged_adapter_replaces_the_adapter(hub, push, runs):
    push(runs / "lora_qkv", "alice/push-merged", base_model="alice/push-encoder")
    before = contents(runs / "lora_qkv")
    told = push(runs / "lora_qkv", "alice/push-merged", merged=True)
    assert contents(runs / "lora_qkv") == before
    assert set(told["deleted"]) == ADAPTER
    assert held(hub, "alice/push-merged") == ALWAYS | RECORDS | {"model.safetensors"}
    assert json.loads(hub.read("alice/push-merged", "run.json"))["model"]["saved"] == "merged"
    card = hub.read("alice/push-merged", "README.md").decode()
    assert "library_name: transformers" in card
    assert "- lora\n" not in card
    assert "The adapter is merged into the base" in card
    config = json.loads(hub.read("alice/push-merged", "config.json"))
    assert [config["id2label"][str(index)] for index in range(8)] == list(EMOTIONS)
    assert not any("lora" in name for name in load(hub.read("alice/push-merged", "model.safetensors")))
    told = push(runs / "lora_qkv", "alice/push-merged", base_model="alice/push-encoder")
    assert told["deleted"] == ["model.safetensors"]


def test_a_loaded_model_is_pushed_without_figures(hub, push, runs):
    told = push(("load", runs / "lora_qkv"), "alice/push-loaded", base_model="alice/push-encoder")
    assert set(told["uploaded"]) == ALWAYS | ADAPTER
    card = hub.read("alice/push-loaded", "README.md").decode()
    assert "The quality of this model is not known" in card
    assert "model-index" not in card
    assert "| surprise | 7 |" in card
    push(("load", runs / "lora_qkv"), "alice/push-loaded", merged=True)
    assert held(hub, "alice/push-loaded") == ALWAYS | {"model.safetensors"}
    # The records of an earlier push would describe another model.
    push(runs / "full", "alice/push-loaded")
    assert set(push(("load", runs / "full"), "alice/push-loaded")["deleted"]) == RECORDS


def test_a_checkpoint_in_training_is_pushed_without_records(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "saved")
    (folder / "optimizer.pt").write_text("to resume from")
    run = json.loads((folder / "run.json").read_text())
    options = {"run": run, "logits": run["probe"]["logits"], "progress": {"step": 7, "epoch": 1.0}}
    told = push(folder, "alice/push-training", fresh=True, **options)
    assert set(told["uploaded"]) == ALWAYS | {"model.safetensors"}
    assert "Training is in progress" in hub.read("alice/push-training", "README.md").decode()
    assert hub.commits("alice/push-training")[0].title == "Training in progress, step 7"
    for path, content in hub.files("alice/push-training").items():
        assert str(runs).encode() not in content, path
    options["logits"] = [[value + 1e-3 for value in row] for row in options["logits"]]
    assert "logits differ by" in push(folder, "alice/push-training", **options)
    assert "is a local folder" in push(runs / "lora_qkv", "alice/push-training", **options)
    # The finished model replaces it.
    assert push(folder, "alice/push-training")["commit"]
    assert "Training is in progress" not in hub.read("alice/push-training", "README.md").decode()


# --- what is refused ---


def test_an_adapter_on_a_local_folder_is_refused_with_the_way_out(hub, push, runs):
    for source in (runs / "lora_qkv", ("load", runs / "lora_qkv")):
        told = push(source, "alice/push-local")
        assert "is a local folder, so nobody else could load the adapter" in told
        assert "base_model (--base-model USER/NAME), or push merged=True (--merged)" in told
    assert "no such repository" in push(runs / "lora_qkv", "alice/push-local", base_model="alice/push-nowhere")
    assert "no adapter to merge" in push(runs / "full", "alice/push-local", merged=True)
    assert "nothing to merge" in push(("load", runs / "full"), "alice/push-local", merged=True)
    assert "alice/push-local" not in hub.repos()


def test_an_incomplete_run_is_refused_by_the_name_of_what_is_missing(runs, tmp_path, push, hub):
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / "checkpoints").mkdir(parents=True)
    assert "is not a finished run: it has no run.json" in push(tmp_path / "empty", "alice/push-none")
    assert "is not a finished run; resume it" in push(tmp_path / "unfinished", "alice/push-none")
    for name in ("model.safetensors", "preprocessor_config.json", "config.json", "metrics.json"):
        folder = shutil.copytree(runs / "full", tmp_path / f"without-{name}")
        (folder / name).unlink()
        assert f"is incomplete: it has no {name}" in push(folder, "alice/push-none")
    folder = shutil.copytree(runs / "full", tmp_path / "damaged")
    run = json.loads((folder / "run.json").read_text())
    for text, words in (
        ('{"hf_ser": ', "run.json cannot be read"),
        ("[]", "it is not a JSON object"),
        (json.dumps({**run, "probe": float("nan")}), "run.json cannot be read: NaN is not JSON"),
        (json.dumps({**run, "probe": None}), "has no logits to verify"),
    ):
        (folder / "run.json").write_text(text)
        assert words in push(folder, "alice/push-none")
    with pytest.raises(InputError, match=r"a dict cannot be pushed; give the folder that finetune wrote, or what load"):
        push_to_hub({}, "alice/push-none")
    assert "alice/push-none" not in hub.repos()


@pytest.mark.parametrize("name", ["predictions.csv", "confusion.png", "model.safetensors", "config.json"])
def test_links_are_not_followed(hub, push, runs, tmp_path, name):
    folder = shutil.copytree(runs / "full", tmp_path / "run")
    secret = (folder / name).rename(tmp_path / "private")
    (folder / name).symlink_to(secret)
    assert f"'{folder / name}' is a link, and a push follows none" in push(folder, "alice/push-links")
    assert "alice/push-links" not in hub.repos()


def test_rights_are_checked_before_anything_is_loaded(hub, push, runs):
    told = push(runs / "full", "bob/push-full")
    assert "the repository does not exist, or is private to others; push to one of alice, lab" in told
    hub.create("bob/push-open", {"README.md": "# Bob's\n"})
    assert "belongs to another account" in push(runs / "full", "bob/push-open")
    assert push(runs / "full", "bob/push-open", create_pr=True)["pull_request"] == "refs/pr/1"
    assert push(runs / "full", "lab/push-full")["commit"]
    assert "the token is read-only" in push(runs / "full", "alice/push-reader", token=hub.token("alice", "read"))
    hub.create("alice/push-broken_card", {"README.md": b"---\ntags: [\n---\n"})
    told = push(runs / "full", "alice/push-broken_card")
    assert "the front matter of README.md cannot be read (line 2: " in told


# --- the check in a fresh process ---


def change_weight(folder, file="model.safetensors"):
    tensors = load_file(folder / file)
    name = next(name for name in tensors if name.endswith("classifier.bias"))
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] += 1e-3
    save_file(tensors, folder / file, {"format": "pt"})


def test_another_model_than_the_trained_one_is_not_pushed(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "changed")
    change_weight(folder)
    assert "the reloaded model's logits differ by" in push(folder, "alice/push-other")
    folder = shutil.copytree(runs / "lora_qkv", tmp_path / "adapter")
    change_weight(folder, "adapter_model.safetensors")
    assert "the reloaded model's logits differ by" in push(folder, "alice/push-other", merged=True)
    folder = shutil.copytree(runs / "full", tmp_path / "nan")
    run = json.loads((folder / "run.json").read_text())
    run["probe"]["logits"][1][3] = None
    (folder / "run.json").write_text(json.dumps(run))
    assert "the reloaded model's logits differ by inf" in push(folder, "alice/push-other")
    folder = shutil.copytree(runs / "full", tmp_path / "labels")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] |= {"0": "calm", "1": "angry"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "the saved model's labels are calm, angry, disgust" in push(folder, "alice/push-other")
    folder = shutil.copytree(runs / "full", tmp_path / "cut")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    assert "nothing was pushed: the saved model fails to load" in push(folder, "alice/push-other")
    assert "alice/push-other" not in hub.repos()


def test_another_base_model_is_detected(hub, push, runs, encoder, tmp_path):
    other = shutil.copytree(encoder(), tmp_path / "encoder")
    tensors = load_file(other / "model.safetensors")
    generator = torch.Generator().manual_seed(2)
    noisy = {name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator) for name, tensor in tensors.items()}
    save_file(noisy, other / "model.safetensors", {"format": "pt"})
    hub.create_from_folder("alice/push-noisy", other)
    assert "nothing was pushed" in push(runs / "lora_qkv", "alice/push-wrong_base", base_model="alice/push-noisy")
    assert "alice/push-wrong_base" not in hub.repos()


# --- what people wrote ---

NOTE = "\n## {name}'s note\n\nWritten by {name}.\n"


def edited(folder, name):
    card = folder / "README.md"
    card.write_text(card.read_text().replace("tags:\n", f"tags:\n- {name}\n") + NOTE.format(name=name))
    return folder


def test_what_people_wrote_on_both_sides_is_kept(hub, push, runs, tmp_path):
    folder = edited(shutil.copytree(runs / "full", tmp_path / "run"), "alice")
    push(folder, "alice/push-card")
    card = hub.read("alice/push-card", "README.md").decode()
    assert card.endswith(f"{END}\n{NOTE.format(name='alice')}")
    assert 'load("alice/push-card")' in card
    hub.commit("alice/push-card", {"README.md": card + NOTE.format(name="bob")}, author="bob")
    for source, options in ((runs / "lora_qkv", {"merged": True}), (folder, {})):
        push(source, "alice/push-card", **options)
        card = hub.read("alice/push-card", "README.md").decode()
        assert [card.count(NOTE.format(name=name)) for name in ("alice", "bob")] == [1, 1]
        assert "- alice\n" in card
        assert card.count(END) == 1


@pytest.mark.slow
def test_the_command_line_pushes_and_prints_the_address(hub, runs):
    code = "import sys; from hf_ser.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["push", str(runs / "full"), "alice/push-cli", "--public", "--revision", "trial"]
    printed = hub.run(code, *words, token=hub.token("alice"))
    assert printed == f"{hub.endpoint}/alice/push-cli: commit {hub.commits('alice/push-cli', 'trial')[0].id}\n"
    assert not hub.repo("alice/push-cli").private


def test_the_suite_and_eval_results_are_pushed_when_asked_and_removed_when_not(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "run")
    run = json.loads((folder / "run.json").read_text())
    run["dataset"] |= {"name": "alice/voices", "local": False}
    (folder / "run.json").write_text(json.dumps(run))
    suite = {"sections": {}, "checks": [], "seconds": {"latency": 1}}
    facts = {"part": "test", "dataset": {"name": "v"}, "protocol": "p", "model": {"probe": run["probe"]["logits"]}}
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(json.dumps({**facts, "suite": suite}))
    push(folder, "alice/with-results", evaluation=str(tmp_path / "evaluation"), eval_results=True)
    assert ".eval_results/hf_ser.yaml" in held(hub, "alice/with-results")
    assert "## Evaluation suite" in hub.read("alice/with-results", "README.md").decode()
    push(folder, "alice/with-results")
    assert ".eval_results/hf_ser.yaml" not in held(hub, "alice/with-results")
    assert "## Evaluation suite" not in hub.read("alice/with-results", "README.md").decode()
