"""benchmark(): every split of a protocol is trained once, an interrupted call goes on, and the sums are right."""

import json

import numpy as np
import pandas as pd
import pytest

from hf_ser.cli import main
from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hf_ser.training import protocols
from hf_ser.training.protocols import benchmark

FAST = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True,
        "disable_tqdm": True}  # fmt: skip


@pytest.fixture(scope="module")
def rows(toy):
    from datasets import concatenate_datasets

    return concatenate_datasets(list(toy.values()))


@pytest.fixture(scope="module")
def folds(encoder, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    settings = {"protocol": "folds", "recipes": ["lora_classifier"], "arguments": FAST}
    with pytest.MonkeyPatch.context() as patch:
        started = []

        def stopping(*given, **options):
            started.append(str(options["output_dir"]))
            if len(started) == 3:
                raise KeyboardInterrupt
            return finetune(*given, **options)

        finetune = protocols.finetune
        patch.setattr(protocols, "finetune", stopping)
        with pytest.raises(KeyboardInterrupt):
            benchmark(encoder(), rows, output_dir=folder, **settings)
        found = benchmark(encoder(), rows, output_dir=folder, **settings)
    return folder, started, found


def test_an_interrupted_call_goes_on(folds):
    folder, started, _ = folds
    names = [folder / "lora_classifier" / f"fold_{number}-42" for number in range(5)]
    assert started == [*map(str, names[:3]), *map(str, names[2:])]
    assert all((name / "run.json").is_file() for name in names)


def test_every_clip_is_judged_once_and_the_figures_are_those_of_all(folds, rows):
    folder, _, found = folds
    tables = [pd.read_csv(file) for file in sorted(folder.glob("*/*/predictions.csv"))]
    table = pd.concat(tables)
    assert sorted(table["clip_id"]) == sorted(rows["clip_id"])
    (row,) = found.rows
    recalls = (table["predicted"] == table["emotion"]).groupby(table["emotion"]).mean()
    assert row["pooled"]["uar"] == pytest.approx(recalls.mean())
    assert row["mean"] == pytest.approx(np.mean(list(row["splits"].values())))
    assert json.loads((folder / "benchmark.json").read_text())["rows"] == json.loads(json.dumps(found.rows))
    assert "| lora_classifier | 42 | 5 | 72 |" in (folder / "benchmark.md").read_text()


def test_a_run_of_other_data_is_refused(folds, encoder, rows):
    fewer = rows.select(range(len(rows) - 1))
    with pytest.raises(InputError, match="is of other data or another recipe"):
        benchmark(encoder(), fewer, output_dir=folds[0], recipes=["lora_classifier"], arguments=FAST)


def test_leave_one_out_gives_the_matrix_across_corpora(encoder, rows, tmp_path, capsys):
    from datasets import DatasetDict

    without = [row for row, it in enumerate(zip(rows["corpus"], rows["emotion"], strict=True)) if it != ("toy_b", 1)]
    DatasetDict({"train": rows.select(without)}).save_to_disk(str(tmp_path / "data"))
    command = ["benchmark", "--model", str(encoder()), "--dataset", str(tmp_path / "data"),
               "--protocol", "leave_one_out", "--recipes", "lora_classifier", "--seeds", "7",
               "--output-dir", str(tmp_path / "out"),
               *(word for name, value in FAST.items() for word in (f"--{name}", str(value)))]  # fmt: skip
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    corpora = found["matrix"][0]["corpora"]
    names = sorted(corpora)
    assert len(names) == 2
    assert all(sorted(figures) == names for figures in corpora.values())
    left_out = next(name for name in names if name.endswith("toy_a"))
    # Calm is not in the other corpus, so that the trained labels are seven.
    folder = tmp_path / "out" / "lora_classifier" / f"leave_out_{left_out}-7"
    table = pd.read_csv(folder / "predictions.csv")
    table, labels = table[table["emotion"] != "calm"], [it for it in table.columns[5:] if it != "calm"]
    decided = table[labels].idxmax(axis=1)
    assert corpora[left_out][left_out] == pytest.approx(
        (decided == table["emotion"]).groupby(table["emotion"]).mean().mean()
    )
    assert main(command) == 0
    assert f"| without {left_out} | **" in capsys.readouterr().out


def test_the_paper_s_setting_and_seeds(encoder, rows, tmp_path, monkeypatch):
    called = []

    def finetune(model, source, **options):
        called.append((source.protocol, options.get("paper"), getattr(options.get("args"), "seed", None)))
        raise KeyboardInterrupt

    monkeypatch.setattr(protocols, "finetune", finetune)
    for settings in ({"protocol": "paper"}, {"protocol": "speaker_independent", "seeds": [3]}):
        with pytest.raises(KeyboardInterrupt):
            benchmark(encoder(), rows, output_dir=tmp_path, recipes=["full"], **settings)
    assert called == [("paper", True, None), ("speaker_independent", None, 3)]


def test_refusals(encoder, rows, tmp_path, capsys):
    for settings, message in (
        ({"protocol": "fold"}, "protocol 'fold' is unknown; choose folds, leave_one_out, paper or speaker_independent"),
        ({"protocol": "paper", "arguments": {"max_steps": 1}}, "protocol paper sets the training arguments"),
        ({"recipes": ["lora"]}, "recipe 'lora' is unknown"),
    ):
        with pytest.raises(InputError, match=message):
            benchmark(encoder(), rows, output_dir=tmp_path / "out", **settings)
    with pytest.raises(InputError, match="is split already; benchmark splits it itself"):
        benchmark(encoder(), open_dataset(rows), output_dir=tmp_path / "out")
    one = rows.filter(lambda corpus: corpus == "toy_a", input_columns="corpus")
    with pytest.raises(InputError, match="leave_one_out needs two corpora"):
        benchmark(encoder(), one, output_dir=tmp_path / "out", protocol="leave_one_out")
    words = ["benchmark", "--model", "m", "--dataset", str(tmp_path), "--output-dir", "o", "--seeds", "1,x"]
    assert main(words) == 2
    assert "--seeds: 'x' is no whole number" in capsys.readouterr().err
