"""`push_to`: saves on the Hub while training goes on, the finished model in the end, and never a lost result."""

import json
import shutil

import pytest

from hf_ser.hub.card_merge import GENERATED_CARD
from hf_ser.models.checkpoint import open_model
from hf_ser.models.probe import probe_difference, probe_logits
from pushing import Pusher

CODE = """
import json, logging, sys, time
from pathlib import Path

time.sleep = lambda seconds: None
logging.basicConfig(level=logging.INFO)
from datasets import load_from_disk
from hf_ser import InputError, finetune, training_arguments
from hf_ser.hub import proof
from hf_ser.training.trainer import EmotionTrainer

proof._ask = proof.answer
save = EmotionTrainer._save_checkpoint
toy = load_from_disk(TOY)

for line in sys.stdin:
    model, recipe, out, dies_at, options = json.loads(line)
    saved = []

    def save_or_die(self, *arguments):
        save(self, *arguments)
        saved.append(1)
        if len(saved) == dies_at:
            raise KeyboardInterrupt

    EmotionTrainer._save_checkpoint = save_or_die
    arguments = training_arguments(recipe, out, num_train_epochs=3, per_device_train_batch_size=8, use_cpu=True,
                                   disable_tqdm=True, report_to="none")
    try:
        result = finetune(model, toy, recipe=recipe, output_dir=out, args=arguments, cache_features=False, **options)
        told = [result.pushed and result.pushed.commit, result.metrics["test"]["pooled"]["uar"]]
    except InputError as error:
        told = str(error)
    except KeyboardInterrupt:
        told = "interrupted"
    print("TOLD", json.dumps(told), flush=True)
"""


@pytest.fixture(scope="module")
def train(hub, toy, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    toy.save_to_disk(folder)
    hub.create_from_folder("alice/base", encoder())
    with Pusher(hub, hub.token("alice"), CODE.replace("TOY", repr(str(folder)))) as process:

        def ask(model, out, *, recipe="full", dies_at=0, **options):
            return process.ask([str(model), recipe, str(out), dies_at, options])

        ask.log = process.log
        yield ask


def states(hub, repo_id, folder):
    """Open the model of each commit but the first, which the Hub makes itself; yield title and logits."""
    for commit in hub.commits(repo_id)[:-1]:
        state = folder / commit.id
        for path, content in hub.files(repo_id, commit.id).items():
            (state / path).parent.mkdir(parents=True, exist_ok=True)
            (state / path).write_bytes(content)
        model, extractor = open_model(state)
        card = (state / "README.md").read_text()
        assert ("model-index" in card) == (state / "metrics.json").is_file() != ("Training is in progress" in card)
        assert not [path for path in state.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
        yield commit.title, probe_logits(model, extractor), state


def test_every_save_and_then_the_finished_model(hub, train, encoder, tmp_path):
    out = tmp_path / "out"
    commit, _ = train(encoder(), out, push_to="alice/live")
    assert commit == hub.commits("alice/live")[0].id
    assert hub.repo("alice/live").private
    found = list(states(hub, "alice/live", tmp_path / "states"))
    assert [title for title, _, _ in found][0] == "Push a checkpoint by hf_ser"
    # Saves come fast here: some were replaced by newer ones before their turn.
    assert set(title for title, _, _ in found[1:]) <= {f"Training in progress, step {step}" for step in (4, 8, 12)}
    assert len(found) > 1
    run = json.loads((out / "run.json").read_text())
    assert probe_difference(run["probe"]["logits"], found[0][1]) < 1e-12
    assert (found[1][2] / "last-checkpoint" / "training_state.json").is_file()
    assert not (found[0][2] / "last-checkpoint").exists()
    assert not [entry for entry in out.iterdir() if entry.name.startswith(".push")]
    for path, content in hub.files("alice/live", hub.commits("alice/live")[1].id).items():
        assert str(encoder()).encode() not in content, path
        assert str(out).encode() not in content, path


def test_a_human_may_write_meanwhile(hub, train, encoder, tmp_path):
    hub.create("alice/written", {"README.md": "---\ntags:\n- mine\n---\n\n# My notes\n"})
    train(encoder(), tmp_path / "out", push_to="alice/written")
    card = hub.read("alice/written", "README.md").decode()
    assert "# My notes" in card
    assert "- mine" in card
    assert "model-index" in card
    assert "Training is in progress" not in card


def test_a_hub_that_fails_costs_warnings_and_no_result(hub, train, encoder, tmp_path):
    with hub.fault(503, path="/api/models/alice/failing/commit/*", count=None):
        told = train(encoder(), tmp_path / "out", push_to="alice/failing")
    out = tmp_path / "out"
    assert told.startswith("nothing was pushed to 'alice/failing': the Hub fails at the moment (503)")
    assert told.endswith(f"complete in '{out}', push it by: hf-ser push {out} alice/failing")
    assert "is not on the Hub, and training goes on: nothing was pushed to 'alice/failing'" in train.log()
    for name in ("run.json", "metrics.json", "model.safetensors", "README.md", GENERATED_CARD):
        assert (out / name).is_file()
    assert len(hub.commits("alice/failing")) == 1
    # The first save fails; then the Hub works again.
    with hub.fault(503, path="/api/models/alice/failing2/commit/*", count=4) as struck:
        commit, _ = train(encoder(), tmp_path / "again", push_to="alice/failing2")
    assert len(struck.hits) == 4
    assert commit == hub.commits("alice/failing2")[0].id


def test_an_interrupted_run_goes_on_pushing(hub, train, tmp_path):
    out = tmp_path / "out"
    options = {"recipe": "lora_qkv", "push_to": "alice/resumed"}
    assert train("alice/base", out, dies_at=2, **options) == "interrupted"
    assert hub.commits("alice/resumed")[0].title == "Training in progress, step 4"
    commit, uar = train("alice/base", out, resume=True, **options)
    titles = [one.title for one in hub.commits("alice/resumed")]
    assert titles[0] == "Push an adapter by hf_ser"
    settings = json.loads(hub.read("alice/resumed", "adapter_config.json"))
    assert settings["revision"] == hub.commits("alice/base")[0].id
    # Elsewhere, from the Hub alone.
    whole = tmp_path / "whole"
    assert train("alice/base", whole, recipe="lora_qkv")[1] == uar
    assert train("alice/base", tmp_path / "a", dies_at=2, recipe="lora_qkv", push_to="alice/moved") == "interrupted"
    shutil.rmtree(tmp_path / "a")
    assert train("alice/base", tmp_path / "b", recipe="lora_qkv", push_to="alice/moved", resume=True)[1] == uar
    assert hub.commits("alice/moved")[0].title == "Push an adapter by hf_ser"
    assert not [path for path in hub.paths("alice/moved") if path.startswith("last-checkpoint/")]


def test_what_could_not_be_pushed_in_the_end_is_refused_in_the_beginning(hub, train, encoder, tmp_path):
    out = tmp_path / "out"
    hub.create("alice/unreadable", {"README.md": b"\xff"})
    for model, recipe, repo_id, words in (
        (encoder(), "lora_qkv", "alice/x", "an adapter on the folder"),
        (encoder(), "full", "bob/x", "push to one of alice, lab"),
        (encoder(), "full", "not a name", "give USER/NAME"),
        (encoder(), "full", "alice/unreadable", "its README.md cannot be read"),
    ):
        assert words in train(model, out, recipe=recipe, push_to=repo_id)
    assert not out.exists()
    assert "alice/x" not in hub.repos()


def test_the_command_line_takes_push_to(capsys, tmp_path):
    from hf_ser.cli import main

    words = ["finetune", "--model", "m", "--dataset", "d", "--output-dir", str(tmp_path / "o"), "--push-to", "no name"]
    assert main([*words, "--recipe", "full"]) == 2
    assert "repo_id 'no name' is no repository on the Hub; give USER/NAME" in capsys.readouterr().err
