"""Whole runs in two processes, as `torchrun` starts them: the same steps, metrics and files as in one."""

import csv
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from hf_ser import finetune, recipe, training_arguments

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

SCRIPT = """
import json, os, sys
from datasets import load_from_disk
from hf_ser import InputError, finetune, processes, recipe, training_arguments

folder, cases = sys.argv[1], json.loads(sys.argv[2])
answers = {}
for name, case in cases.items():
    chosen = recipe(case["recipe"], **case.get("fields", {}))
    arguments = training_arguments(chosen, folder, use_cpu=True, disable_tqdm=True, **case["arguments"])
    try:
        result = finetune(
            case["encoder"], load_from_disk(case["data"]), recipe=chosen, args=arguments, cache_features=False,
            output_dir=os.path.join(folder, name), **case.get("options", {}),
        )
        answers[name] = result.run["hardware"]["processes"]
    except InputError as error:
        answers[name] = [type(error).__name__, str(error)]
everybody = processes.gather(answers)
if processes.is_first():
    print(json.dumps(everybody))
"""


def launch(words, timeout=300, **environment):
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [*TORCHRUN, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=timeout)


def run_cases(cases, tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    done = launch([tmp_path / "run.py", tmp_path, json.dumps(cases)])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def toy_folder(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "toy"
    toy.save_to_disk(str(folder))
    return str(folder)


def written(folder):
    with (folder / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    labels = list(rows[0])[5:]
    return [row["clip_id"] for row in rows], np.array([[float(row[label]) for label in labels] for row in rows])


def test_two_processes_make_the_run_of_one(toy, toy_folder, encoder, tmp_path):
    settings = {"num_train_epochs": 2, "learning_rate": 1e-3}
    noisy = {"apply_spec_augment": True, "mask_time_prob": 0.1, "layerdrop": 0.5, "hidden_dropout": 0.1}
    cases = {
        "same": {"recipe": "full", "encoder": str(encoder()), "data": toy_folder,
                 "arguments": {**settings, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}},
        "noisy": {"recipe": "full", "encoder": str(encoder(**noisy)), "data": toy_folder,
                  "arguments": {"max_steps": 6, "per_device_train_batch_size": 4}},
        "refused": {"recipe": "full", "encoder": str(tmp_path / "absent"), "data": toy_folder, "arguments": {}},
    }  # fmt: skip
    first, second = run_cases(cases, tmp_path)
    assert first["same"] == second["same"] == 2
    assert first["noisy"] == 2
    assert {first["refused"][0], second["refused"][0]} == {"InputError", "FailedElsewhere"}
    assert first["refused"][1] == second["refused"][1]
    assert not (tmp_path / "refused").exists()
    chosen = recipe("full")
    arguments = training_arguments(
        chosen, tmp_path, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=8, **settings
    )
    one = finetune(encoder(), toy, recipe=chosen, args=arguments, output_dir=tmp_path / "one", cache_features=False)
    two = json.loads((tmp_path / "same" / "run.json").read_text())
    assert two["steps"] == one.run["steps"]
    assert two["training_loss"] == pytest.approx(one.run["training_loss"], rel=1e-4)
    assert [e["uar"] for e in two["history"]] == [e["uar"] for e in one.run["history"]]
    metrics = json.loads((tmp_path / "same" / "metrics.json").read_text())
    assert metrics["test"]["pooled"]["confusion"] == one.metrics["test"]["pooled"]["confusion"]
    (names, scores), (names_of_one, scores_of_one) = written(tmp_path / "same"), written(tmp_path / "one")
    assert names == names_of_one
    assert np.abs(scores - scores_of_one).max() < 1e-4
    assert {file.name for file in (tmp_path / "same").iterdir()} == {file.name for file in (tmp_path / "one").iterdir()}


CASES = {
    "hubert full": ("full", "hubert", {}),
    "hubert full, weighted": ("full", "hubert", {"use_weighted_layer_sum": True}),
    "hubert lora_qkv": ("lora_qkv", "hubert", {}),
    "hubert lora_qkv, weighted": ("lora_qkv", "hubert", {"use_weighted_layer_sum": True}),
    "hubert lora_classifier": ("lora_classifier", "hubert", {}),
    "hubert lora_classifier, weighted": ("lora_classifier", "hubert", {"use_weighted_layer_sum": True}),
    "wav2vec2 full": ("full", "wav2vec2", {}),
    "wavlm full": ("full", "wavlm", {}),
    "whisper full": ("full", "whisper", {"encoder_layerdrop": 0.5}),
    "whisper lora_qkv": ("lora_qkv", "whisper", {"encoder_layerdrop": 0.5}),
}


@pytest.mark.slow
def test_no_encoder_waits_for_a_gradient_that_never_comes(toy, toy_folder, encoder, tmp_path):
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
    first, second = run_cases(cases, tmp_path)
    assert first == second == dict.fromkeys(cases, 2)


@pytest.mark.slow
def test_pooled_features_augmentation_and_groups_of_one_are_as_with_one_process(toy, toy_folder, encoder, tmp_path):
    group_norm = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    made = {
        "pooled": ("lora_classifier", encoder(), {"balance_labels": True, "head_dropout": 0.0}),
        # What such an encoder learns depends on the padding of its batches, so on how many share a step.
        "group norm": ("lora_qkv", encoder(**group_norm), {"learning_rate": 0.0}),
    }
    settings = {"num_train_epochs": 2, "dataloader_num_workers": 1}
    cases = {
        name: {"recipe": chosen, "fields": fields, "encoder": str(folder), "data": toy_folder,
               "arguments": {**settings, "per_device_train_batch_size": 4}}
        for name, (chosen, folder, fields) in made.items()
    }  # fmt: skip
    run_cases(cases, tmp_path)
    for name, (chosen, folder, fields) in made.items():
        own = recipe(chosen, **fields)
        arguments = training_arguments(
            own, tmp_path, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=8, **settings
        )
        one = finetune(
            folder, toy, recipe=own, args=arguments, output_dir=tmp_path / "one" / name, cache_features=False
        )
        (names, scores), (names_of_one, scores_of_one) = written(tmp_path / name), written(one.output_dir)
        assert names == names_of_one
        assert np.abs(scores - scores_of_one).max() < 1e-4, name


def command(folder, data, out, **options):
    words = [
        "-m",
        "hf_ser",
        "finetune",
        "--model",
        folder,
        "--dataset",
        data,
        "--output-dir",
        out,
        "--no-feature-cache",
    ]
    options = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "use_cpu": "true", **options}
    return [*words, *(word for name, value in options.items() for word in (f"--{name}", value))]


@pytest.mark.slow
def test_the_command_line_says_once_what_is_wrong_and_leaves_nothing(encoder, tmp_path):
    done = launch(command(encoder(), tmp_path / "absent", tmp_path / "out"))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("hf-ser finetune:")]
    assert len(said) == 1
    assert "there is no such folder" in said[0]
    assert done.stderr.count("Traceback") == 1, "the launcher's own is the only one"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("disks", ["shared", "separate"])
def test_two_nodes(disks, toy, toy_folder, encoder, tmp_path):
    """Two launchers of one process each; with separate disks, a relative folder is another one on each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for node in (0, 1):
        place = tmp_path / ("disk" if disks == "shared" else f"disk_{node}")
        place.mkdir(exist_ok=True)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", node]
        launcher += ["--master_addr", "127.0.0.1", "--master_port", port, "--nproc_per_node", "1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if disks == "separate":
            environment |= {"HF_HOME": str(place / "cache"), "HF_DATASETS_CACHE": str(place / "cache" / "datasets")}
        words = [str(word) for word in [*launcher, *command(encoder(), toy_folder, "out")]]
        nodes.append(subprocess.Popen(words, cwd=place, env=environment, stderr=subprocess.PIPE, text=True))
    reports = [node.communicate(timeout=300)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], reports
    first = tmp_path / ("disk" if disks == "shared" else "disk_0")
    chosen = recipe("lora_qkv")
    arguments = training_arguments(
        chosen, tmp_path, use_cpu=True, disable_tqdm=True, per_device_train_batch_size=8, num_train_epochs=2
    )
    one = finetune(encoder(), toy, args=arguments, output_dir=tmp_path / "one", cache_features=False)
    assert json.loads((first / "out" / "run.json").read_text())["hardware"]["processes"] == 2
    names, scores = written(first / "out")
    names_of_one, scores_of_one = written(one.output_dir)
    assert names == names_of_one
    assert np.abs(scores - scores_of_one).max() < 1e-4
    if disks == "separate":
        assert [entry.name for entry in (tmp_path / "disk_1").iterdir() if entry.name != "cache"] == []
        assert "do not share this machine's disk" in reports[0]


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_training_ends_the_run(toy_folder, encoder, tmp_path):
    script = f"""
import os, signal, sys
from transformers import TrainerCallback
from hf_ser.training.trainer import EmotionTrainer
step = EmotionTrainer.training_step
def die(self, *arguments, **options):
    if self.state.global_step == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments, **options)
EmotionTrainer.training_step = die
from hf_ser.cli import main
sys.exit(main({[str(word) for word in command(encoder(), toy_folder, tmp_path / "out")[2:]]!r}))
"""
    (tmp_path / "die.py").write_text(script)
    begin = time.monotonic()
    done = launch([tmp_path / "die.py"])
    assert done.returncode != 0
    assert time.monotonic() - begin < 100
    # The folder is free again, and nothing half-written is left in it.
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_predictions_are_spread_and_come_back_in_order(toy, encoder, tmp_path):
    labelled = encoder(labels=["angry", "happy", "sad"])
    files = [clip["audio"]["path"] for clip in toy["test"].select(range(7))]
    words = ["-m", "hf_ser", "predict", labelled, "--json"]
    together = launch([*words, *files])
    alone = subprocess.run([sys.executable, *map(str, words), *files], capture_output=True, text=True, check=True)
    assert together.stdout == alone.stdout, together.stderr[-2000:]
    assert [json.loads(line)["file"] for line in together.stdout.splitlines()] == files
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    broken = launch([*words, *files, tmp_path / "broken.wav"])
    assert broken.returncode != 0
    # What cannot be read gets no answer, and takes none from the others.
    *answers, unread = map(json.loads, broken.stdout.splitlines())
    assert answers == [json.loads(line) for line in alone.stdout.splitlines()]
    assert "broken.wav" in unread["error"]
    said = [line for line in broken.stderr.splitlines() if line.startswith("hf-ser predict:")]
    assert len(said) == 2
    assert "broken.wav" in said[0]
    assert "1 of 8 files" in said[1]
