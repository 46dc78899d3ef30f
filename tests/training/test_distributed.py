"""Whole runs in two processes, as `torchrun` starts them: the same steps, metrics and files as in one."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hf_ser import finetune, recipe, training_arguments

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

SCRIPT = """
import json, os, signal, sys
from datasets import load_from_disk
from hf_ser import finetune, recipe, training_arguments
from hf_ser.training.trainer import EmotionTrainer

step = EmotionTrainer.training_step
for name, case in json.loads(sys.argv[2]).items():
    def step_or_die(self, *arguments, **options):
        if self.state.global_step == case.get("dies_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments, **options)

    EmotionTrainer.training_step = step_or_die
    chosen = recipe(case["recipe"], **case.get("fields", {}))
    arguments = training_arguments(chosen, sys.argv[1], use_cpu=True, disable_tqdm=True, **case["arguments"])
    result = finetune(
        case["encoder"], load_from_disk(case["data"]), recipe=chosen, args=arguments,
        output_dir=os.path.join(sys.argv[1], name), **case.get("options", {}),
    )
    # In one piece, since both processes write.
    os.write(1, f"DONE {name} {result.run['hardware']['processes']} {result.report['clips']}\\n".encode())
"""


def run_cases(cases, folder, launcher=TORCHRUN):
    (folder / "run.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(folder / "run.py"), str(folder), json.dumps(cases)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.fixture(scope="module")
def toy_folder(toy, tmp_path_factory):
    from datasets import DatasetDict

    folder = tmp_path_factory.mktemp("toy") / "toy"
    # A number of clips that no two processes share evenly.
    DatasetDict({**toy, "train": toy["train"].select(range(31))}).save_to_disk(str(folder))
    return str(folder)


def written(folder):
    with (folder / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    labels = list(rows[0])[5:]
    return [row["clip_id"] for row in rows], np.array([[float(row[label]) for label in labels] for row in rows])


def test_two_processes_make_the_run_of_one(toy_folder, encoder, tmp_path):
    from datasets import load_from_disk

    settings = {"num_train_epochs": 2, "learning_rate": 1e-3, "logging_steps": 1}
    noise = {"apply_spec_augment": True, "mask_time_prob": 0.1, "layerdrop": 0.5, "hidden_dropout": 0.1}
    shared = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    frozen = {"balance_labels": True, "head_dropout": 0.0}
    data = {"data": toy_folder}
    cases = {
        "full": {"recipe": "full", "encoder": str(encoder()), "arguments": {**settings, **shared}, **data},
        "frozen": {"recipe": "lora_classifier", "fields": frozen, "encoder": str(encoder()),
                   "arguments": {**settings, **shared}, **data},
        # SpecAugment and LayerDrop leave weights without a gradient in some steps; without them, one never has any.
        "noisy": {"recipe": "full", "encoder": str(encoder(**noise)),
                  "arguments": {"max_steps": 4, "per_device_train_batch_size": 4}, **data},
    }  # fmt: skip
    done = run_cases(cases, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in cases:
        assert done.stdout.count(f"DONE {name} 2 24") == 2
    for name in ("full", "frozen"):
        chosen = recipe(cases[name]["recipe"], **cases[name].get("fields", {}))
        arguments = training_arguments(
            chosen, tmp_path, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=8, **settings
        )
        toy = load_from_disk(toy_folder)
        one = finetune(encoder(), toy, recipe=chosen, args=arguments, output_dir=tmp_path / "one" / name)
        two = json.loads((tmp_path / name / "run.json").read_text())
        assert two["steps"] == one.run["steps"] == 8
        assert two["training_loss"] == pytest.approx(one.run["training_loss"], rel=1e-4)
        for mine, theirs in zip(two["history"], one.run["history"], strict=True):
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
            assert mine["uar"] == theirs["uar"]
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert metrics["test"]["pooled"]["confusion"] == one.metrics["test"]["pooled"]["confusion"]
        (names, scores), (names_of_one, scores_of_one) = written(tmp_path / name), written(one.output_dir)
        assert names == names_of_one
        assert np.abs(scores - scores_of_one).max() < 1e-4
        files = [{file.name for file in folder.iterdir()} for folder in (tmp_path / name, one.output_dir)]
        assert files[0] == files[1]


def test_an_error_ends_both_processes_with_one_line_and_leaves_nothing(toy_folder, encoder, tmp_path):
    case = {"recipe": "full", "encoder": str(tmp_path / "absent"), "data": toy_folder, "arguments": {}}
    done = run_cases({"out": case}, tmp_path)
    assert done.returncode != 0
    assert "absent" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_killed_processes_go_on_and_one_may_not(toy_folder, encoder, tmp_path):
    case = {
        "recipe": "full", "fields": {"encoder_settings": {"hidden_dropout": 0.2}}, "encoder": str(encoder()),
        "data": toy_folder,
        "arguments": {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2, "per_device_train_batch_size": 4},
    }  # fmt: skip
    whole = run_cases({"whole": case}, tmp_path)
    assert whole.returncode == 0, whole.stderr[-2000:]
    assert run_cases({"out": {**case, "dies_at": 3}}, tmp_path).returncode != 0
    resumed = {"out": {**case, "options": {"resume": True}}}
    alone = run_cases(resumed, tmp_path, [sys.executable])
    assert "the run to resume differs: processes was 2 and is now 1; resume it as it was" in alone.stderr
    again = run_cases(resumed, tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    for file in ("model.safetensors", "predictions.csv"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


CASES = {
    "hubert full, weighted": ("full", "hubert", {"use_weighted_layer_sum": True}),
    "hubert lora_qkv": ("lora_qkv", "hubert", {}),
    "hubert lora_classifier, weighted": ("lora_classifier", "hubert", {"use_weighted_layer_sum": True}),
    "wav2vec2 full": ("full", "wav2vec2", {}),
    "wavlm full": ("full", "wavlm", {}),
    "whisper full": ("full", "whisper", {"encoder_layerdrop": 0.5}),
    "whisper lora_qkv": ("lora_qkv", "whisper", {}),
}


@pytest.mark.slow
def test_no_encoder_waits_for_a_gradient_that_never_comes(toy_folder, encoder, tmp_path):
    """SpecAugment, LayerDrop and the weighted sum leave weights without a gradient, in a step or for good."""
    noise = {"apply_spec_augment": True, "mask_time_prob": 0.1, "mask_time_min_masks": 0, "layerdrop": 0.5}
    # Noise off, no search for unused weights is made: every weight that trains must get its gradient.
    quiet = {"mask_time_prob": 0.0}
    cases = {}
    for name, (chosen, architecture, changes) in CASES.items():
        for mode, settings in (("noisy", noise), ("quiet", quiet)):
            whisper = architecture == "whisper"
            fields = {**(changes if mode == "noisy" or "weighted" in name else {}), **({} if whisper else settings)}
            cases[f"{name} {mode}"] = {
                "recipe": chosen,
                "encoder": str(encoder(architecture, **fields)),
                "data": toy_folder,
                "arguments": {"max_steps": 6, "per_device_train_batch_size": 2},
            }
    done = run_cases(cases, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("DONE") == 2 * len(cases)
