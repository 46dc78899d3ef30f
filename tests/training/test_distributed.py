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
