"""What frozen parts make of clips is made once, wherever and whenever it is wanted again."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import hf_ser.cache
from hf_ser import Augmentation, finetune, recipe, training_arguments
from hf_ser.models.prefix import Prefix

RECIPES = {
    "pooled": recipe("lora_classifier", head_dropout=0.0),
    "pooled_layers": recipe(
        "full", trains=("layer_weights", "head"), encoder_settings={"use_weighted_layer_sum": True}, learning_rate=1e-2
    ),
    "feature_encoder": recipe("lora_qkv"),
    "lower_layers": recipe("full", trained_layers=1),
}
CLIPS = 32 + 16 + 24


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a cache folder of this test's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hf_ser"


@pytest.fixture
def passed(monkeypatch):
    """Return the stage of each clip's pass through a frozen part, as they come."""
    seen = []
    run = Prefix.states

    def counted(self, batch, **options):
        states = run(self, batch, **options)
        seen.extend([self.stage] * len(states))
        return states

    monkeypatch.setattr(Prefix, "states", counted)
    return seen


def train(encoder, toy, out, chosen, **options):
    changes = options.pop("changes", {})
    settings = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 8,
        "use_cpu": True,
        "disable_tqdm": True,
        **changes,
    }
    return finetune(
        encoder(), toy, recipe=chosen, output_dir=out, args=training_arguments(chosen, out, **settings), **options
    )


def scores(result):
    with (result.output_dir / "predictions.csv").open() as stream:
        return np.array([[float(value) for value in list(row.values())[5:]] for row in csv.DictReader(stream)])


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=[] if stage == "lower_layers" else pytest.mark.slow) for stage in RECIPES]
)
def test_each_clip_passes_once_and_the_cache_changes_nothing(stage, toy, encoder, home, passed, tmp_path):
    kept = train(encoder, toy, tmp_path / "kept", RECIPES[stage])
    facts = kept.run["model"]["frozen_part"]
    assert facts["stage"] == stage
    assert facts["kept"] is True
    assert facts["largest_difference"] < 1e-5
    assert facts["passed"] == CLIPS
    # Two clips prove that the frozen part does what it did within the model.
    assert passed.count(stage) == CLIPS + 2
    assert len({file.parent.name for file in home.glob(f"features/{stage}-*/*.arrow")}) == 1
    passed.clear()
    again = train(encoder, toy, tmp_path / "again", RECIPES[stage])
    assert again.run["model"]["frozen_part"]["passed"] == 0
    assert passed.count(stage) == len(passed) == 2
    assert again.metrics == kept.metrics
    passed.clear()
    off = train(encoder, toy, tmp_path / "off", RECIPES[stage], cache_features=False, cache_audio=False)
    assert passed.count(stage) >= CLIPS
    assert np.abs(scores(off) - scores(kept)).max() < 1e-5
    assert off.run["training_loss"] == pytest.approx(kept.run["training_loss"], abs=1e-5)
    assert "frozen" not in {entry.name for entry in (tmp_path / "off").rglob("*")}


def test_one_clip_more_is_the_only_one_that_passes(toy, encoder, home, tmp_path):
    from datasets import DatasetDict

    fewer = DatasetDict({**toy, "train": toy["train"].select(range(31))})
    train(encoder, fewer, tmp_path / "fewer", RECIPES["feature_encoder"])
    all_of_them = train(encoder, toy, tmp_path / "all", RECIPES["feature_encoder"])
    assert all_of_them.run["model"]["frozen_part"]["passed"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pooled", "feature_encoder"])
def test_every_view_of_a_clip_passes_once(stage, toy, encoder, home, passed, tmp_path):
    two = Augmentation(noise_probability=1.0, time_stretch_probability=1.0, views=2)
    kept = train(encoder, toy, tmp_path / "kept", RECIPES[stage], augmentation=two)
    # Pooled features start the head from the audio as it is.
    assert kept.run["model"]["frozen_part"]["passed"] == 2 * 32 + 16 + 24 + (32 if stage == "pooled" else 0)
    passed.clear()
    off = train(encoder, toy, tmp_path / "off", RECIPES[stage], augmentation=two, cache_features=False)
    assert np.abs(scores(off) - scores(kept)).max() < 1e-5
    three = Augmentation(noise_probability=1.0, time_stretch_probability=1.0, views=3)
    more = train(encoder, toy, tmp_path / "more", RECIPES[stage], augmentation=three)
    assert more.run["model"]["frozen_part"]["passed"] == 32
    other = train(encoder, toy, tmp_path / "other", RECIPES[stage], augmentation=two, changes={"seed": 7})
    assert other.run["model"]["frozen_part"]["passed"] == 64


def test_audio_that_is_new_in_every_epoch_is_not_kept(toy, encoder, home, passed, tmp_path):
    result = train(encoder, toy, tmp_path / "out", RECIPES["feature_encoder"], augmentation=Augmentation())
    assert result.run["model"]["frozen_part"]["passed"] == 16 + 24
    assert passed.count("feature_encoder") == 16 + 24 + 4 * 32 + 2


def test_what_is_read_once_is_not_kept(toy, encoder, home, passed, tmp_path):
    result = train(encoder, toy, tmp_path / "out", RECIPES["feature_encoder"], changes={"max_steps": 4})
    assert result.run["model"]["frozen_part"]["passed"] == 16 + 24
    assert passed.count("feature_encoder") == 16 + 24 + 32 + 2


@pytest.mark.slow
def test_what_does_not_fit_is_passed_in_every_step(toy, encoder, home, passed, tmp_path, caplog):
    result = train(encoder, toy, tmp_path / "out", RECIPES["feature_encoder"], cache_gigabytes=0.0012)
    assert result.run["model"]["frozen_part"]["kept"] is False
    assert passed.count("feature_encoder") > 4 * 32
    assert "more than the cache's limit" in caplog.text
    assert sum(file.stat().st_size for file in home.rglob("*.arrow")) < 1.3e6


def test_a_pass_that_was_killed_goes_on(toy, encoder, home, tmp_path, monkeypatch):
    monkeypatch.setattr(hf_ser.cache, "_SHARD_SECONDS", 0.0)
    # One batch after the other, so that it is known which of them dies.
    monkeypatch.setattr(hf_ser.models.features, "pass_workers", lambda device: 1)
    run = Prefix.states
    calls = []

    def die(self, batch, **options):
        if self.stage == "feature_encoder":
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
        return run(self, batch, **options)

    monkeypatch.setattr(Prefix, "states", die)
    with pytest.raises(KeyboardInterrupt):
        train(encoder, toy, tmp_path / "out", RECIPES["feature_encoder"], changes={"per_device_eval_batch_size": 8})
    monkeypatch.setattr(Prefix, "states", run)
    result = train(encoder, toy, tmp_path / "out", RECIPES["feature_encoder"])
    # One call compared two clips, two kept eight each.
    assert result.run["model"]["frozen_part"]["passed"] == CLIPS - 16


def test_an_encoder_that_depends_on_padding_is_evaluated_in_batches_behind_its_convolutions(
    toy, encoder, home, tmp_path
):
    from hf_ser import load

    group = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    folder = encoder("hubert", **group)
    result = train(lambda: folder, toy, tmp_path / "out", RECIPES["feature_encoder"])
    classifier = load(tmp_path / "out")
    expected = [classifier(clip["audio"]["path"])["scores"].values() for clip in toy["test"].select(range(0, 24, 5))]
    assert np.abs(scores(result)[::5] - np.array([list(each) for each in expected])).max() < 1e-5


SCRIPT = """
import sys
from datasets import load_from_disk
from hf_ser import finetune, training_arguments
encoder, data, out = sys.argv[1:]
arguments = training_arguments("lora_qkv", out, num_train_epochs=2, per_device_train_batch_size=4, use_cpu=True,
                               disable_tqdm=True)
finetune(encoder, load_from_disk(data), output_dir=out, args=arguments)
"""


@pytest.mark.slow
def test_processes_share_the_passes(toy, encoder, tmp_path):
    toy.save_to_disk(str(tmp_path / "toy"))
    (tmp_path / "run.py").write_text(SCRIPT)
    words = [str(encoder()), str(tmp_path / "toy"), str(tmp_path / "out")]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, *torchrun, str(tmp_path / "run.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["model"]["frozen_part"]["passed"] == CLIPS
    rows = {}
    for folder in ("samples", "features"):
        for file in (tmp_path / "home" / "hf_ser" / folder).rglob("*.arrow"):
            from datasets import Dataset

            rows.setdefault(file.parent.name.partition("-")[0], []).extend(Dataset.from_file(str(file))["key"])
    assert {name: len(keys) for name, keys in rows.items()} == {
        "16000hz": CLIPS,
        "pooled": 32,
        "feature_encoder": CLIPS,
    }
    assert all(len(set(keys)) == len(keys) for keys in rows.values())
