"""An unfinished run on the Hub: what is pushed of it, and that it goes on elsewhere as if nothing had happened."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hf_ser import finetune, training_arguments
from hf_ser.errors import InputError
from hf_ser.training.folder import OutputFolder
from hf_ser.training.last_checkpoint import last_checkpoint_files
from pushing import Pusher

FETCH = """
import json, logging, sys, time
from pathlib import Path

logging.basicConfig(level=logging.DEBUG)
time.sleep = lambda seconds: None
import huggingface_hub.constants
from hf_ser.errors import InputError
from hf_ser.training.last_checkpoint import fetch_last_checkpoint

for line in sys.stdin:
    repo_id, folder, offline, options = json.loads(line)
    huggingface_hub.constants.HF_HUB_OFFLINE = offline
    told = None
    try:
        fetch_last_checkpoint(repo_id, Path(folder), **options)
    except InputError as error:
        told = str(error)
    print("TOLD", json.dumps(told), flush=True)
"""
WEIGHTS = {"adapter_model.safetensors", "head_training_state.safetensors"}
STATE = {"optimizer.safetensors", "training_state.json", "random_state_0.json", "random_state_0.safetensors"}


def train(toy, encoder, folder, recipe="lora_qkv", **options):
    """Train seven steps with a checkpoint after every second; none is better than the first."""
    from hf_ser.training.scoring import ValidationMetrics

    arguments = training_arguments(
        recipe, folder, use_cpu=True, disable_tqdm=True, max_steps=7, eval_strategy="steps", eval_steps=2,
        per_device_train_batch_size=6,
    )  # fmt: skip
    same = {"uar": 0.5, "accuracy": 0.5, "f1_macro": 0.5}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ValidationMetrics, "__call__", lambda *_: same)
        return finetune(encoder, toy, recipe=recipe, output_dir=folder, args=arguments, cache_features=False, **options)


def train_until_killed(*arguments):
    from hf_ser.training.trainer import EmotionTrainer

    step = EmotionTrainer.training_step

    def step_or_die(self, *arguments, **options):
        if self.state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments, **options)

    EmotionTrainer.training_step = step_or_die
    train(*arguments)


@pytest.fixture(scope="module")
def killed(toy, encoder, tmp_path_factory):
    """What is to be pushed of a run that was killed at its sixth step, as contents."""
    folder = tmp_path_factory.mktemp("killed") / "out"
    process = multiprocessing.get_context("fork").Process(target=train_until_killed, args=(toy, encoder(), folder))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    files = last_checkpoint_files(folder / "checkpoints")
    contents = {path: file.read_bytes() if isinstance(file, Path) else file for path, file in files.items()}
    # Elsewhere, the folder is not there.
    shutil.rmtree(folder)
    return contents


@pytest.fixture(scope="module")
def fetch(hub):
    """A client in a process of its own: it fetches and returns what it was told."""
    with Pusher(hub, None, FETCH) as client:

        def ask(repo_id, folder, *, offline=False, **options):
            told = client.ask([repo_id, str(folder), offline, options])
            assert told is None or "\n" not in told
            return told

        yield ask


def test_the_newest_checkpoint_and_the_best_weights_are_pushed_and_no_pickle(killed):
    newest = WEIGHTS | STATE | {"trainer_state.json", "settings.json"}
    best = {f"best/{name}" for name in WEIGHTS}
    assert set(killed) == {f"last-checkpoint/{name}" for name in newest | best}
    # Not where things lie on this machine.
    assert not any(b'"/' in content for path, content in killed.items() if path.endswith(".json"))
    state = json.loads(killed["last-checkpoint/trainer_state.json"])
    assert (state["global_step"], state["best_global_step"]) == (4, 2)
    assert state["best_model_checkpoint"] == "checkpoint-2"


def test_a_run_goes_on_elsewhere_as_if_it_had_not_been_killed(hub, fetch, killed, toy, encoder, tmp_path, monkeypatch):
    stray = {"README.md": "# A run", "last-checkpoint/optimizer.pt": b"\x80", "last-checkpoint/deep/er/a.json": "{}"}
    hub.create("alice/going-on", {**killed, **stray}, private=True)
    brought = set()

    def bring(checkpoints):
        with hub.fault(503, path="*/last-checkpoint/optimizer.safetensors", count=1):
            assert fetch("alice/going-on", checkpoints, token=hub.token("alice")) is None
        brought.update(path.relative_to(checkpoints).as_posix() for path in checkpoints.rglob("*") if path.is_file())

    whole = train(toy, encoder(), tmp_path / "whole")
    monkeypatch.setattr(
        "hf_ser.training.finetune.OutputFolder", lambda path, **more: OutputFolder(path, **{**more, "fetch": bring})
    )
    resumed = train(toy, encoder(), tmp_path / "resumed", resume=True)
    newest = WEIGHTS | STATE | {"trainer_state.json"}
    assert brought == {
        "settings.json",
        *(f"checkpoint-2/{name}" for name in WEIGHTS),
        *(f"checkpoint-4/{name}" for name in newest),
    }
    assert resumed.run["best"]["step"] == 2
    assert resumed.run["history"] == whole.run["history"]
    assert resumed.metrics == whole.metrics
    for file in ("adapter_model.safetensors", "predictions.csv"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not (tmp_path / "resumed" / "checkpoints").exists()


def test_what_cannot_be_fetched_is_one_line_and_leaves_nothing(hub, fetch, killed, tmp_path):
    state = json.loads(killed["last-checkpoint/trainer_state.json"])
    repositories = {
        "empty": {"README.md": "# Finished"},
        "damaged": {**killed, "last-checkpoint/trainer_state.json": "{"},
        "no-number": {**killed, "last-checkpoint/trainer_state.json": json.dumps({**state, "global_step": "../x"})},
        "no-best": {path: content for path, content in killed.items() if "/best/" not in path},
        "no-state": {path: content for path, content in killed.items() if "training_state.json" not in path},
        "private": killed,
    }
    for name, files in repositories.items():
        hub.create(f"alice/run-{name}", files, private=name == "private")
    expected = {name: fetch(f"alice/run-{name}", tmp_path / name) for name in [*repositories, "absent"]}
    assert "holds no unfinished run (it has no last-checkpoint/settings.json)" in expected["empty"]
    assert "last-checkpoint/trainer_state.json is damaged" in expected["damaged"]
    assert "last-checkpoint/trainer_state.json is damaged" in expected["no-number"]
    assert "last-checkpoint/best lacks the weights of checkpoint-2" in expected["no-best"]
    assert "holds no unfinished run (it has no last-checkpoint/training_state.json)" in expected["no-state"]
    assert "no such repository, or it is private" in expected["private"]
    assert "no such repository, or it is private" in expected["absent"]
    folder = tmp_path / "out"
    assert "revision 'nowhere' does not exist" in fetch("alice/run-empty", folder, revision="nowhere")
    assert "offline mode is on" in fetch("alice/run-empty", folder, offline=True)
    with hub.fault(503, path="*/last-checkpoint/optimizer.safetensors", count=None):
        told = fetch("alice/run-private", folder, token=hub.token("alice"))
    assert "the Hub fails at the moment (503)" in told
    assert list(tmp_path.iterdir()) == []


def bring(settings):
    def fetched(checkpoints):
        checkpoints.mkdir()
        (checkpoints / "settings.json").write_text(json.dumps(settings))

    return fetched


def test_the_output_folder_fetches_only_what_it_does_not_hold(tmp_path):
    folder = OutputFolder(tmp_path / "out", resume=True, fetch=bring({"seed": 1}))
    with folder.claimed({"seed": 1}):
        assert (tmp_path / "out" / "checkpoints" / "settings.json").is_file()

    def refuse(checkpoints):
        raise InputError("asked the Hub")

    with OutputFolder(tmp_path / "out", resume=True, fetch=refuse).claimed({"seed": 1}):
        pass
    with (
        pytest.raises(InputError, match="asked the Hub"),
        OutputFolder(tmp_path / "other", resume=True, fetch=refuse).claimed({}),
    ):
        pass
    differs = OutputFolder(tmp_path / "third", resume=True, fetch=bring({"seed": 2}))
    with pytest.raises(InputError, match="had seed = 2, now it is 1"), differs.claimed({"seed": 1}):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds no run to resume"):
        OutputFolder(tmp_path / "mine", resume=True, fetch=bring({}))


RUN = """
import json, os, signal, sys, time
from datasets import load_from_disk
from huggingface_hub import HfApi
from hf_ser import InputError, finetune, training_arguments
from hf_ser.training.scoring import ValidationMetrics
from hf_ser.training.trainer import EmotionTrainer

out, data, repository, recipe, more = *sys.argv[1:5], json.loads(sys.argv[5])
same = {"uar": 0.5, "accuracy": 0.5, "f1_macro": 0.5}
ValidationMetrics.__call__ = lambda *_: same
step = EmotionTrainer.training_step

def step_or_die(self, *arguments, **options):
    if self.state.global_step == 5:
        # The repository comes with the first save that is proved.
        while not HfApi().repo_exists(repository) or "step 4" not in HfApi().list_repo_commits(repository)[0].title:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments, **options)

if not more:
    EmotionTrainer.training_step = step_or_die
arguments = training_arguments(
    recipe, out, use_cpu=True, disable_tqdm=True, max_steps=7, eval_strategy="steps", eval_steps=2,
    per_device_train_batch_size=6, **({"seed": 7} if more.get("seed") else {}),
)
more.pop("seed", None)
try:
    finetune("alice/killed-encoder", load_from_disk(data), recipe=recipe, output_dir=out, args=arguments,
             cache_features=False, push_to=repository, **more)
except InputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["full", "lora_qkv", "lora_classifier"])
def test_a_run_that_was_killed_on_one_machine_is_finished_on_another(recipe, hub, toy, encoder, tmp_path):
    toy.save_to_disk(str(tmp_path / "toy"))
    if "alice/killed-encoder" not in hub.repos():
        hub.create_from_folder("alice/killed-encoder", encoder())
    repository = f"alice/killed-{recipe}"

    def run(name, **more):
        words = [str(tmp_path / name), str(tmp_path / "toy"), repository, recipe, json.dumps(more)]
        return hub.execute([sys.executable, "-c", RUN, *words], hub.token("alice"))

    first = run("first")
    assert first.returncode == -signal.SIGKILL, first.stderr[-2000:]
    weights = "model.safetensors" if recipe == "full" else "adapter_model.safetensors"
    assert f"last-checkpoint/best/{weights}" in hub.paths(repository)
    other = run("other", resume=True, seed=7)
    assert "the run to resume had" in other.stdout
    assert not (tmp_path / "other").exists()
    second = run("second", resume=True)
    assert second.returncode == 0, second.stderr[-2000:]
    whole = train(toy, encoder(), tmp_path / "whole", recipe)
    record = json.loads((tmp_path / "second" / "run.json").read_text())
    assert record["history"] == json.loads(json.dumps(whole.run["history"]))
    for file in (weights, "predictions.csv", "metrics.json"):
        assert (tmp_path / "second" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    # The finished model, and nothing of the way to it.
    held = hub.files(repository)
    assert held[weights] == (tmp_path / "whole" / weights).read_bytes()
    assert not [path for path in held if path.startswith("last-checkpoint/")]
