"""`push_to`: checkpoints on the Hub during training, the finished model at the end, and never a lost result."""

import json

import pytest

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
from hf_ser.training.callbacks import PushSaves

proof._ask = proof.answer
save = PushSaves.on_save
toy = load_from_disk(TOY)

for line in sys.stdin:
    model, recipe, out, dies_at, options = json.loads(line)
    saved = []

    def save_or_die(self, *arguments, **options):
        save(self, *arguments, **options)
        if self._thread is None:
            return  # the start
        # Saves come fast here: each push gets its turn.
        self._thread.join()
        saved.append(1)
        if len(saved) == dies_at:
            raise KeyboardInterrupt

    PushSaves.on_save = save_or_die
    arguments = training_arguments(recipe, out, num_train_epochs=3, per_device_train_batch_size=8, use_cpu=True,
                                   disable_tqdm=True, report_to="none")
    try:
        result = finetune(model, toy, recipe=recipe, output_dir=out, args=arguments, **options)
        told = [result.pushed and result.pushed.commit, result.metrics["test"]["pooled"]["uar"]]
    except InputError as error:
        told = [type(error).__name__, str(error)]
    except KeyboardInterrupt:
        told = "interrupted"
    print("TOLD", json.dumps(told), flush=True)
"""


@pytest.fixture(scope="module")
def train(hub, toy, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    toy.save_to_disk(folder)
    hub.create_from_folder("alice/live-base", encoder())
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
        assert not [path for path in state.rglob("*") if path.suffix in (".pt", ".pth", ".bin", ".pkl")]
        yield commit.title, probe_logits(model, extractor), state


def test_every_checkpoint_and_then_the_finished_model(hub, train, encoder, tmp_path):
    out = tmp_path / "out"
    commit, _ = train(encoder(), out, push_to="alice/live-live")
    assert commit == hub.commits("alice/live-live")[0].id
    assert hub.repo("alice/live-live").private
    found = list(states(hub, "alice/live-live", tmp_path / "states"))
    assert [title for title, _, _ in found] == [
        "Push a checkpoint with hf_ser", *(f"Training in progress, step {step}" for step in (12, 8, 4))
    ]  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    assert probe_difference(run["probe"]["logits"], found[0][1]) < 1e-5
    assert (found[0][2] / "metrics.json").is_file()
    assert not (found[1][2] / "metrics.json").exists()
    assert not [entry for entry in out.iterdir() if entry.name.startswith(".push") or entry.name == "checkpoints"]
    for path, content in hub.files("alice/live-live", hub.commits("alice/live-live")[1].id).items():
        assert str(encoder()).encode() not in content, path
        assert str(out).encode() not in content, path


def test_a_hub_that_fails_costs_warnings_and_no_result(hub, train, encoder, tmp_path):
    with hub.fault(503, path="/api/models/alice/live-failing/commit/*", count=None):
        kind, told = train(encoder(), tmp_path / "out", push_to="alice/live-failing")
    out = tmp_path / "out"
    assert kind == "HubError"
    assert "the Hub fails at the moment (503)" in told
    assert told.endswith(f"complete in '{out}', push it by: hf-ser push {out} alice/live-failing")
    assert "step 4 was not pushed, training continues: " in train.log()
    for name in ("run.json", "metrics.json", "model.safetensors", "README.md"):
        assert (out / name).is_file()


def test_an_interrupted_run_continues_and_pushes_on(hub, train, tmp_path):
    out = tmp_path / "out"
    options = {"recipe": "lora_qkv", "push_to": "alice/live-resumed"}
    assert train("alice/live-base", out, dies_at=2, **options) == "interrupted"
    assert hub.commits("alice/live-resumed")[0].title == "Training in progress, step 8"
    _, uar = train("alice/live-base", out, resume=True, **options)
    titles = [one.title for one in hub.commits("alice/live-resumed")]
    assert titles[0] == "Push an adapter with hf_ser"
    settings = json.loads(hub.read("alice/live-resumed", "adapter_config.json"))
    assert settings["base_model_name_or_path"] == "alice/live-base"
    assert settings["revision"] == hub.commits("alice/live-base")[0].id
    assert train("alice/live-base", tmp_path / "whole", recipe="lora_qkv")[1] == uar


def test_a_push_that_would_be_refused_at_the_end_is_refused_at_the_beginning(hub, train, encoder, tmp_path):
    out = tmp_path / "out"
    for model, recipe, repo_id, words in (
        (encoder(), "lora_qkv", "alice/live-x", "an adapter on the folder"),
        (encoder(), "full", "bob/x", "alice, lab"),
        (encoder(), "full", "not a name", "USER/NAME"),
    ):
        _, told = train(model, out, recipe=recipe, push_to=repo_id)
        assert words in told
        assert "\n" not in told
    assert not out.exists()
    assert "alice/live-x" not in hub.repos()


def test_nothing_is_resumed_from_the_hub(train, encoder, tmp_path):
    _, told = train(encoder(), tmp_path / "absent", push_to="alice/live-live", resume=True)
    assert "holds no run, nothing to resume" in told
