"""FSDP, which accelerate offers on accelerators alone: here it is told that the CPUs are some."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hf_ser import finetune, load, recipe, training_arguments
from hf_ser.errors import InputError

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

SCRIPT = """
import json, os, sys
os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
from accelerate import state
from accelerate.utils import DistributedType

state.PartialState._prepare_backend = lambda self, cpu, sagemaker, backend=None: ("gloo", DistributedType.MULTI_GPU)
from datasets import load_from_disk
from torch.distributed.tensor import DTensor
from hf_ser import InputError, finetune, processes, recipe, training_arguments
from hf_ser.training.sharded import ShardedTrainer
from hf_ser.training.trainer import EmotionTrainer

folder, data, cases = sys.argv[1], load_from_disk(sys.argv[2]), json.loads(sys.argv[3])
step, seen = ShardedTrainer.training_step, {}
def look(self, model, *arguments, **options):
    tensors = list(model.parameters())
    seen["sharded"] = all(isinstance(tensor, DTensor) for tensor in tensors)
    seen["held"] = sum(tensor.to_local().numel() for tensor in tensors) / sum(tensor.numel() for tensor in tensors)
    return step(self, model, *arguments, **options)
ShardedTrainer.training_step = look
save = EmotionTrainer._save_checkpoint
def save_then_die(self, *arguments):
    save(self, *arguments)
    raise KeyboardInterrupt
def run(name, case, **options):
    chosen = recipe(case["recipe"])
    arguments = training_arguments(
        chosen, folder, fsdp=True, disable_tqdm=True, bf16=False, num_train_epochs=2, per_device_train_batch_size=4,
        **case.get("arguments", {}),
    )
    finetune(case["encoder"], case.get("stream", data), recipe=chosen, args=arguments, cache_features=False,
             output_dir=os.path.join(folder, name), streaming="stream" in case, **options)
answers = {}
for name, case in cases.items():
    try:
        if case.get("dies"):
            EmotionTrainer._save_checkpoint = save_then_die
            try:
                run(name, case)
            except KeyboardInterrupt:
                EmotionTrainer._save_checkpoint = save
        run(name, case, resume=bool(case.get("dies")))
        answers[name] = dict(seen)
    except InputError as error:
        answers[name] = str(error)
everybody = processes.gather(answers)
if processes.is_first():
    print(json.dumps(everybody))
"""


def scores(folder):
    with (folder / "predictions.csv").open() as stream:
        return np.array([[float(value) for value in list(row.values())[5:]] for row in csv.DictReader(stream)])


def parquet_of(toy, folder):
    import soundfile
    from datasets.table import embed_table_storage
    from pyarrow.parquet import write_table

    folder.mkdir()
    for part, rows in toy.items():
        rows = rows.add_column("duration", [soundfile.info(audio["path"]).duration for audio in rows["audio"]])
        rows = rows.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
        # Two files' worth of groups do not share out evenly: the last step finds one process without a clip.
        write_table(rows.data.table, folder / f"{part}.parquet", row_group_size=11)
    return folder


@pytest.mark.slow
def test_a_model_in_shards_trains_saves_and_resumes_as_a_whole_one(toy, encoder, tmp_path):
    toy.save_to_disk(str(tmp_path / "toy"))
    noisy = {"apply_spec_augment": True, "layerdrop": 0.3, "hidden_dropout": 0.1, "use_weighted_layer_sum": True}
    cases = {
        "full": {"recipe": "full", "encoder": str(encoder())},
        "resumed": {"recipe": "full", "encoder": str(encoder()), "dies": True},
        "lora": {"recipe": "lora_qkv", "encoder": str(encoder("whisper"))},
        "lora resumed": {"recipe": "lora_qkv", "encoder": str(encoder("whisper")), "dies": True},
        "noisy": {"recipe": "full", "encoder": str(encoder(**noisy))},
        "wavlm": {"recipe": "full", "encoder": str(encoder("wavlm", do_stable_layer_norm=False))},
        "streamed": {"recipe": "full", "encoder": str(encoder()), "stream": str(parquet_of(toy, tmp_path / "parquet"))},
        "head alone": {"recipe": "lora_classifier", "encoder": str(encoder())},
        "old": {"recipe": "full", "encoder": str(encoder()), "arguments": {"fsdp_config": {"version": 1}}},
    }
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [*TORCHRUN, tmp_path / "run.py", tmp_path / "out", tmp_path / "toy", json.dumps(cases)]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(done.stdout.strip().splitlines()[-1])
    assert "nothing to spread" in first.pop("head alone")
    assert "version 1" in first.pop("old")
    for name, answer in first.items():
        assert answer["sharded"], name
        assert answer["held"] == pytest.approx(0.5, abs=0.05), name
        assert second[name]["held"] == pytest.approx(0.5, abs=0.05), name
    for name, chosen, architecture in (("full", "full", "hubert"), ("lora", "lora_qkv", "whisper")):
        own = recipe(chosen)
        arguments = training_arguments(
            own, tmp_path, use_cpu=True, disable_tqdm=True, num_train_epochs=2, per_device_train_batch_size=8
        )
        one = finetune(
            encoder(architecture), toy, recipe=own, args=arguments, output_dir=tmp_path / "one" / name,
            cache_features=False,
        )  # fmt: skip
        whole, sharded = one.output_dir, tmp_path / "out" / name
        assert {file.name for file in sharded.iterdir()} == {file.name for file in whole.iterdir()}
        assert np.abs(scores(sharded) - scores(whole)).max() < 1e-4
        model = json.loads((sharded / "run.json").read_text())["model"]
        assert {key: model[key] for key in model if key != "revision"} == {
            key: one.run["model"][key] for key in model if key != "revision"
        }
        # What is read back from the files is what was evaluated in shards.
        answer = load(sharded)(toy["test"][3]["audio"]["path"])["scores"]
        assert np.abs(np.array(list(answer.values())) - scores(sharded)[3]).max() < 2e-5
    for name, resumed in (("full", "resumed"), ("lora", "lora resumed")):
        assert np.abs(scores(tmp_path / "out" / name) - scores(tmp_path / "out" / resumed)).max() < 1e-5


def test_what_would_be_left_out_in_silence_is_refused(toy, encoder, tmp_path):
    arguments = training_arguments("full", tmp_path, use_cpu=True, fsdp=True)
    with pytest.raises(InputError, match="there is one; start several by torchrun"):
        finetune(encoder(), toy, recipe="full", args=arguments, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()
