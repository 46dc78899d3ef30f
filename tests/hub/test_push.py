"""A model on the Hub: what goes up, what is refused, and that the proof tells a model from another."""

import json
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_ser import finetune, training_arguments
from hf_ser.errors import InputError
from hf_ser.hub.artefact import is_ours
from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.hub.facts import shareable_record, without_local_paths
from hf_ser.hub.push import push_to_hub
from hf_ser.labels import EMOTIONS
from pushing import PUSH_MODELS, Pusher

RECORDS = {"run.json", "metrics.json", "predictions.csv", "report.md", "confusion.png"}
ALWAYS = {"README.md", GENERATED_CARD, "config.json", "preprocessor_config.json"}
ADAPTER = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture(scope="module")
def runs(toy, encoder, tmp_path_factory):
    """Finished runs of two recipes on an encoder that lies in a folder."""
    top = tmp_path_factory.mktemp("runs")
    for name in ("full", "lora_qkv"):
        arguments = training_arguments(
            name, top, num_train_epochs=1, per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True
        )
        finetune(encoder(), toy, recipe=name, output_dir=top / name, args=arguments, cache_features=False)
    return top


@pytest.fixture(scope="module")
def pusher(hub, encoder):
    hub.create_from_folder("alice/push-encoder", encoder())
    with Pusher(hub, hub.token("alice"), PUSH_MODELS) as process:
        yield process


@pytest.fixture
def push(pusher):
    def ask(source, repo_id, *, fresh=False, **options):
        return pusher.ask([[source[0], str(source[1])] if isinstance(source, tuple) else str(source),
                           repo_id, fresh, options])  # fmt: skip

    return ask


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def held(hub, repo_id, **where):
    return set(hub.paths(repo_id, **where)) - {".gitattributes"}


# --- what goes up ---


def test_a_checkpoint_goes_up_whole_and_alone(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "run")
    for name in ("training_args.bin", "notes.txt", ".env", "optimizer.pt", "head_training_state.safetensors"):
        (folder / name).write_text("not for others")
    (folder / "checkpoints" / "checkpoint-4").mkdir(parents=True)
    (folder / "checkpoints" / "checkpoint-4" / "model.safetensors").write_text("not for others")
    before = contents(folder)
    told = push(folder, "alice/push-full", fresh=True)
    assert told["url"] == f"{hub.endpoint}/alice/push-full"
    assert told["commit"] == hub.commits("alice/push-full")[0].id
    assert hub.repo("alice/push-full").private
    assert held(hub, "alice/push-full") == ALWAYS | RECORDS | {"model.safetensors"}
    assert hub.read("alice/push-full", "model.safetensors") == (folder / "model.safetensors").read_bytes()
    assert contents(folder) == before
    assert push(folder, "alice/push-full")["commit"] is None


def test_no_path_of_this_machine_goes_up(hub, push, runs, encoder):
    push(runs / "full", "alice/push-paths")
    push(runs / "lora_qkv", "alice/push-paths", base_model="alice/push-encoder", revision="adapter")
    for revision in ("main", "adapter"):
        for path, content in hub.files("alice/push-paths", revision).items():
            for place in (runs, encoder()):
                assert str(place).encode() not in content, path
    run = json.loads(hub.read("alice/push-paths", "run.json"))
    assert run["model"]["name"] == encoder().name
    assert f"`{encoder().name}`" in hub.read("alice/push-paths", "report.md").decode()


def test_an_adapter_names_its_base_on_the_hub_at_its_commit(hub, push, runs):
    told = push(runs / "lora_qkv", "alice/push-adapter", base_model="alice/push-encoder")
    assert held(hub, "alice/push-adapter") == ALWAYS | RECORDS | ADAPTER
    commit = hub.commits("alice/push-encoder")[0].id
    settings = json.loads(hub.read("alice/push-adapter", "adapter_config.json"))
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("alice/push-encoder", commit)
    model = json.loads(hub.read("alice/push-adapter", "run.json"))["model"]
    assert (model["name"], model["revision"], model["saved"]) == ("alice/push-encoder", commit, "adapter")
    card = hub.read("alice/push-adapter", "README.md").decode()
    assert "base_model: alice/push-encoder\nbase_model_relation: adapter\n" in card
    assert f'revision="{commit}"' in card
    assert told["deleted"] == []


def test_a_merged_adapter_takes_the_adapters_place(hub, push, runs):
    push(runs / "lora_qkv", "alice/push-merged", base_model="alice/push-encoder")
    told = push(runs / "lora_qkv", "alice/push-merged", merged=True)
    assert set(told["deleted"]) == ADAPTER
    assert held(hub, "alice/push-merged") == ALWAYS | RECORDS | {"model.safetensors"}
    assert json.loads(hub.read("alice/push-merged", "run.json"))["model"]["saved"] == "merged"
    card = hub.read("alice/push-merged", "README.md").decode()
    assert "library_name: transformers" in card
    assert "The adapter is merged into the base" in card
    config = json.loads(hub.read("alice/push-merged", "config.json"))
    assert [config["id2label"][str(index)] for index in range(8)] == list(EMOTIONS)
    assert not any("lora" in name for name in weights(hub, "alice/push-merged"))
    # And back again.
    told = push(runs / "lora_qkv", "alice/push-merged", base_model="alice/push-encoder")
    assert told["deleted"] == ["model.safetensors"]


def weights(hub, repo_id):
    from safetensors.torch import load

    return load(hub.read(repo_id, "model.safetensors"))


def test_a_loaded_model_goes_up_without_figures(hub, push, runs):
    told = push(("load", runs / "lora_qkv"), "alice/push-loaded", base_model="alice/push-encoder")
    assert set(told["uploaded"]) == ALWAYS | ADAPTER
    card = hub.read("alice/push-loaded", "README.md").decode()
    assert "Nothing is known of this model's quality" in card
    assert "model-index" not in card
    assert "| surprise | 7 |" in card
    push(("load", runs / "lora_qkv"), "alice/push-loaded", merged=True)
    assert held(hub, "alice/push-loaded") == ALWAYS | {"model.safetensors"}
    push(("load", runs / "full"), "alice/push-loaded")
    assert hub.read("alice/push-loaded", "model.safetensors") == (runs / "full" / "model.safetensors").read_bytes()
    # The records of a run that went up here would tell of another model.
    push(runs / "full", "alice/push-loaded")
    assert set(push(("load", runs / "full"), "alice/push-loaded")["deleted"]) == RECORDS


def test_branches_and_pull_requests(hub, push, runs):
    push(runs / "full", "alice/push-branched")
    told = push(runs / "lora_qkv", "alice/push-branched", merged=True, revision="v2", private=False)
    assert told["commit"] == hub.commits("alice/push-branched", "v2")[0].id
    assert json.loads(hub.read("alice/push-branched", "run.json"))["model"]["saved"] == "checkpoint"
    told = push(runs / "lora_qkv", "alice/push-branched", merged=True, create_pr=True)
    assert (told["pull_request"], told["url"]) == ("refs/pr/1", f"{hub.endpoint}/alice/push-branched/discussions/1")
    assert len(hub.commits("alice/push-branched")) == 2
    assert hub.repo("alice/push-branched").private
    push(runs / "full", "alice/push-public", private=False)
    assert not hub.repo("alice/push-public").private


# --- what is refused ---


def test_an_adapter_on_a_folder_is_refused_with_the_way_out(hub, push, runs):
    for source in (runs / "lora_qkv", ("load", runs / "lora_qkv")):
        told = push(source, "alice/push-local")
        assert "is a folder of this machine: the adapter would load for nobody else" in told
        assert "base_model (--base-model USER/NAME), or push merged=True (--merged)" in told
    assert "there is no such repository" in push(runs / "lora_qkv", "alice/push-local", base_model="alice/push-nowhere")
    assert "nothing to merge" in push(runs / "full", "alice/push-local", merged=True)
    assert "nothing to merge" in push(("load", runs / "full"), "alice/push-local", merged=True)
    assert "alice/push-local" not in hub.repos()


def test_what_is_none_of_ours_is_refused_by_the_name_of_what_it_lacks(runs, tmp_path, push, hub):
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / "checkpoints").mkdir(parents=True)
    assert "is no finished run: it has no run.json" in push(tmp_path / "empty", "alice/push-none")
    assert "holds an unfinished run; go on with it by resume" in push(tmp_path / "unfinished", "alice/push-none")
    for name in ("model.safetensors", "preprocessor_config.json", "config.json", "metrics.json"):
        folder = shutil.copytree(runs / "full", tmp_path / f"without-{name}")
        (folder / name).unlink()
        assert f"is not whole: it has no {name}" in push(folder, "alice/push-none")
    folder = shutil.copytree(runs / "full", tmp_path / "damaged")
    (folder / "run.json").write_text('{"hf_ser": ')
    assert "run.json cannot be read" in push(folder, "alice/push-none")
    with pytest.raises(InputError, match=r"a dict cannot be pushed; give the folder that finetune wrote, or what load"):
        push_to_hub({}, "alice/push-none")
    assert "alice/push-none" not in hub.repos()


def test_rights_are_looked_at_before_anything_is_loaded(hub, push, runs):
    assert "the repository is not there, or is private to others; push to one of alice, lab" in push(
        runs / "full", "bob/push-full"
    )
    hub.create("bob/push-open", {"README.md": "# Bob's\n"})
    assert "belongs to another account" in push(runs / "full", "bob/push-open")
    assert push(runs / "full", "bob/push-open", create_pr=True)["pull_request"] == "refs/pr/1"
    assert push(runs / "full", "lab/push-full")["commit"]
    assert "the token may only read" in push(runs / "full", "alice/push-reader", token=hub.token("alice", "read"))
    hub.create("alice/push-broken_card", {"README.md": b"---\ntags: [\n---\n\xff"})
    assert "its README.md cannot be read" in push(runs / "full", "alice/push-broken_card")


# --- the proof ---


def changed_weight(folder, file="model.safetensors"):
    tensors = load_file(folder / file)
    name = next(name for name in tensors if name.endswith("classifier.bias"))
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] += 1e-3
    save_file(tensors, folder / file, {"format": "pt"})


def test_another_model_than_the_trained_one_is_not_pushed(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "changed")
    changed_weight(folder)
    assert "the model's logits differ by" in push(folder, "alice/push-other")
    folder = shutil.copytree(runs / "lora_qkv", tmp_path / "adapter")
    changed_weight(folder, "adapter_model.safetensors")
    assert "the model's logits differ by" in push(folder, "alice/push-other", merged=True)
    folder = shutil.copytree(runs / "full", tmp_path / "nan")
    run = json.loads((folder / "run.json").read_text())
    run["probe"]["logits"][1][3] = None
    (folder / "run.json").write_text(json.dumps(run))
    assert "the model's logits differ by inf" in push(folder, "alice/push-other")
    (folder / "run.json").write_text(json.dumps({**run, "probe": float("nan")}))
    assert "run.json cannot be read: NaN is no JSON" in push(folder, "alice/push-other")
    folder = shutil.copytree(runs / "full", tmp_path / "labels")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] |= {"0": "calm", "1": "angry"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "the model's labels are calm, angry, disgust" in push(folder, "alice/push-other")
    assert "alice/push-other" not in hub.repos()


@pytest.mark.slow
def test_files_that_do_not_load_are_not_pushed(hub, push, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "cut")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    assert "nothing was pushed: loaded in a fresh process, the model fails: " in push(
        folder, "alice/push-cut", fresh=True
    )
    assert "alice/push-cut" not in hub.repos()


def test_another_base_than_it_was_trained_on_is_found_out(hub, push, runs, encoder, tmp_path):
    other = shutil.copytree(encoder(), tmp_path / "encoder")
    tensors = load_file(other / "model.safetensors")
    generator = torch.Generator().manual_seed(2)
    noisy = {name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator) for name, tensor in tensors.items()}
    save_file(noisy, other / "model.safetensors", {"format": "pt"})
    hub.create_from_folder("alice/push-noisy", other)
    assert "its base model, are not the same any more" in push(
        runs / "lora_qkv", "alice/push-wrong_base", base_model="alice/push-noisy"
    )
    assert "alice/push-wrong_base" not in hub.repos()


def test_a_run_without_a_probe_is_compared_with_its_files_and_says_so(hub, pusher, runs, tmp_path):
    folder = shutil.copytree(runs / "full", tmp_path / "old")
    run = json.loads((folder / "run.json").read_text())
    del run["probe"]
    (folder / "run.json").write_text(json.dumps(run))
    shutil.rmtree(folder / ".hf_ser")
    assert pusher.ask([str(folder), "alice/push-old", False, {}])["commit"]
    assert f"the run in '{folder}' recorded no probe of its trained model" in pusher.log()
    # The card as it was generated is made again, so that no word of it is taken for a human's.
    assert hub.read("alice/push-old", "README.md") == hub.read("alice/push-old", GENERATED_CARD)


# --- cards ---

NOTE = "\n## {name}'s note\n\nRecorded by {name}.\n"


def edited(folder, name):
    card = folder / "README.md"
    card.write_text(card.read_text().replace("tags:\n", f"tags:\n- {name}\n") + NOTE.format(name=name))
    return folder


def test_what_humans_wrote_here_and_there_survives_every_push(hub, push, runs, tmp_path):
    folder = edited(shutil.copytree(runs / "full", tmp_path / "run"), "alice")
    push(folder, "alice/push-card")
    card = hub.read("alice/push-card", "README.md").decode()
    assert NOTE.format(name="alice") in card
    assert 'load("alice/push-card")' in card
    assert "alice's" not in hub.read("alice/push-card", GENERATED_CARD).decode()
    hub.commit("alice/push-card", {"README.md": card + NOTE.format(name="bob")}, author="bob")
    push(runs / "lora_qkv", "alice/push-card", merged=True)
    card = hub.read("alice/push-card", "README.md").decode()
    assert NOTE.format(name="alice") in card
    assert NOTE.format(name="bob") in card
    assert "- alice\n" in card
    assert "`lora_qkv`" in card
    assert card.count("Recorded by alice") == 1
    push(folder, "alice/push-card")
    assert hub.read("alice/push-card", "README.md").decode().count("Recorded by alice") == 1


@pytest.mark.slow
def test_of_two_who_push_at_once_one_is_told_to_pull_and_both_are_heard(hub, pusher, runs, tmp_path):
    folders = {name: edited(shutil.copytree(runs / "full", tmp_path / name), name) for name in ("alice", "bob")}
    changed_run = json.loads((folders["bob"] / "run.json").read_text())
    changed_run["seeds"]["order"] = 7
    (folders["bob"] / "run.json").write_text(json.dumps(changed_run))
    pusher.ask([str(runs / "full"), "lab/push-shared", False, {}])
    told = []
    with Pusher(hub, hub.token("bob"), PUSH_MODELS) as process:
        # By then it has imported all it needs, and is fast enough to come between.
        assert isinstance(process.ask([str(folders["bob"]), "lab/push-warm", False, {}]), dict)
        with hub.fault("slow", path="*/lab/push-shared/commit/*", seconds=12) as struck:
            alice = threading.Thread(
                target=lambda: told.append(pusher.ask([str(folders["alice"]), "lab/push-shared", False, {}]))
            )
            alice.start()
            while alice.is_alive() and not struck.hits:
                time.sleep(0.01)
            first = process.ask([str(folders["bob"]), "lab/push-shared", False, {}])
            alice.join()
    assert first["commit"] == hub.commits("lab/push-shared")[0].id
    assert told == [
        "nothing was pushed to 'lab/push-shared': somebody else changed the repository at the same time; pull their "
        "version, and push again"
    ]
    assert isinstance(pusher.ask([str(folders["alice"]), "lab/push-shared", False, {}]), dict)
    card = hub.read("lab/push-shared", "README.md").decode()
    for name in folders:
        assert card.count(NOTE.format(name=name)) == 1
        assert f"- {name}\n" in card


# --- the command line, and pure parts ---


@pytest.mark.slow
def test_the_command_line_pushes_and_prints_the_address(hub, runs):
    code = "import sys; from hf_ser.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["push", str(runs / "full"), "alice/push-cli", "--public", "--revision", "trial"]
    printed = hub.run(code, *words, token=hub.token("alice"))
    assert printed == f"{hub.endpoint}/alice/push-cli: commit {hub.commits('alice/push-cli', 'trial')[0].id}\n"
    assert not hub.repo("alice/push-cli").private


def test_what_is_ours():
    ours = ("model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "run.json")
    assert all(is_ours(path) for path in ours)
    others = ("pytorch_model.bin", "model.safetensors.bak", "docs/model.safetensors", "README.md", ".gitattributes",
              "head_training_state.safetensors", "training_args.bin", "onnx/config.json")  # fmt: skip
    assert not any(is_ours(path) for path in others)


def test_local_paths_are_reduced_to_their_last_part(tmp_path, monkeypatch):
    (tmp_path / "sub" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    values = {
        "a": ["/home/me/encoders/hubert-tiny/", "~/models/x", r"C:\Users\me\enc", "sub/model"],
        "b": {"c": "facebook/hubert-base-ls960", "d": 3, "e": None, "f": "a / b", "g": True},
    }
    assert without_local_paths(values) == {
        "a": ["hubert-tiny", "x", "enc", "model"],
        "b": {"c": "facebook/hubert-base-ls960", "d": 3, "e": None, "f": "a / b", "g": True},
    }
    run = {"model": {"name": "gone/encoder", "local": True}, "dataset": {"name": "me/corpora", "local": False}}
    assert shareable_record(run)["model"]["name"] == "encoder"
    assert shareable_record(run)["dataset"]["name"] == "me/corpora"
    assert run["model"]["name"] == "gone/encoder"
