import csv
import json
import logging

import numpy as np
import pytest

from hf_ser import Augmentation, finetune, load, recipe, training_arguments
from hf_ser.errors import InputError
from hf_ser.evaluation.evaluate import evaluate
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.labels import EMOTIONS
from hf_ser.models.recipes import RECIPES

FILES = {"README.md", "config.json", "confusion.png", "metrics.json", "predictions.csv", "preprocessor_config.json",
         "report.html", "report.md", "run.json", "scores.png", "sources.png"}  # fmt: skip


def arguments(name, folder, **changes):
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    return training_arguments(name, folder, **{**settings, **changes})


# The encoder of the tests has only three layers.
NAMES = [name for name in RECIPES if name != "last_layers"]


@pytest.fixture(scope="module")
def finished(toy, encoder, tmp_path_factory):
    """Return each recipe's finished run."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: finetune(encoder(), toy, recipe=name, output_dir=folder / name, args=arguments(name, folder))
        for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_holds_all_that_was_promised(name, finished, encoder):
    result = finished[name]
    weights = {"model.safetensors"} if not RECIPES[name].lora else {"adapter_model.safetensors", "adapter_config.json"}
    assert {file.name for file in result.output_dir.iterdir()} == FILES | weights
    run = json.loads((result.output_dir / "run.json").read_text())
    assert run == json.loads(json.dumps(result.run))
    assert run["seeds"] == {"weights": 42, "order": 42, "augmentation": 42, "bootstrap": 42}
    assert run["best"]["validation_uar"] == max(entry["uar"] for entry in run["history"])
    assert run["model"]["trainable_parameters"] > 0
    assert run["model"]["name"] == encoder().name
    assert len(run["model"].get("base_digest", "")) == (64 if RECIPES[name].lora else 0)
    assert run["seconds"]["total"] > 0
    assert run["stopped"] == "all 8 steps are done"
    assert run["peak_memory_bytes"]["host"] > 1e8
    assert run["dataset"]["proof"]["speaker_disjoint"] is True
    assert "parts" not in run["dataset"]["proof"]
    assert run["dataset"]["parts"]["train"]["speakers"] == [f"speaker_{number}" for number in range(4)]
    assert len(run["dataset"]["fingerprint"]) == 64
    assert run["versions"]["transformers"]
    assert (result.output_dir / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (result.output_dir / "README.md").read_text().startswith("---\n")
    report = (result.output_dir / "report.md").read_text()
    assert "UAR" in report
    assert str(result.output_dir) not in report


@pytest.mark.parametrize("name", NAMES)
def test_evaluating_the_finished_folder_gives_the_same_digits(name, finished, toy):
    result = finished[name]
    again = {part: evaluate(str(result.output_dir), toy, part=part) for part in ("validation", "test")}
    for part, found in again.items():
        assert json.loads(json.dumps(found.results[part])) == json.loads(json.dumps(result.metrics[part]))
    written = result.predictions
    assert list(written.columns) == list(again["test"].predictions.columns)
    assert (written[list(EMOTIONS)] - again["test"].predictions[list(EMOTIONS)]).abs().max().max() < 1e-6
    assert again["test"].facts["heard_in_training"]["speakers"] == []
    assert again["test"].facts["temperature"] == result.run["calibration"]["temperature"] > 0


def test_the_metrics_follow_from_the_predictions(finished):
    result = finished["full"]
    with (result.output_dir / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    again = evaluate_scores(
        np.array([[float(row[label]) for label in EMOTIONS] for row in rows]),
        np.array([EMOTIONS.index(row["emotion"]) for row in rows]),
        labels=EMOTIONS,
        corpora=[row["corpus"] for row in rows],
        speakers=[row["speaker"] for row in rows],
        seed=42,
    )
    assert result.metrics["test"]["pooled"]["confusion"] == again["pooled"]["confusion"]
    assert result.metrics["test"]["pooled"]["uar"] == again["pooled"]["uar"]
    assert set(result.metrics["test"]["corpora"]) == {"toy_a", "toy_b"}


def test_it_learns(finished):
    """Eight tones, an octave apart: a recipe that learns nothing would stay at 1/8."""
    for name, result in finished.items():
        assert result.report["uar"] > 0.3, name


def test_a_result_shows_itself_in_a_few_lines_and_as_tables(finished):
    result = finished["lora_qkv"]
    lines = repr(result).splitlines()
    assert len(lines) == 5
    assert lines[1] == f"  model   {result.run['model']['name']}, recipe lora_qkv"
    assert lines[2].endswith("sad, surprise")
    assert lines[3].startswith(f"  UAR     {100 * result.report['uar']:.1f} % (95 % interval ")
    assert lines[4] == f"  folder  {result.output_dir}"
    assert list(result.confusion.index) == list(result.confusion.columns) == list(EMOTIONS)
    assert result.confusion.to_numpy().sum() == len(result.predictions) == 24


def test_the_plan_comes_first_and_the_next_command_last(toy, encoder, tmp_path, caplog, capsys):
    with caplog.at_level(logging.INFO, "hf_ser"):
        out = tmp_path / "out"
        finetune(
            encoder(), toy, recipe=recipe("lora_classifier", patience=1), output_dir=out,
            args=arguments("lora_classifier", out, learning_rate=0.0, disable_tqdm=False, num_train_epochs=9),
        )  # fmt: skip
    plan = next(message for message in caplog.messages if message.startswith("Data:"))
    assert "train 32 clips of 4 speakers, validation 16 clips of 2 speakers, test 24 clips of 3 speakers" in plan
    assert "Labels:   angry, calm" in plan
    assert "Training: at most 36 steps of 8 clips on cpu (fp32), ending after 1 evaluations without" in plan
    assert "hf_ser; delete it at any time" in plan
    assert caplog.messages[-1].splitlines()[0] == "Training ended: no better validation UAR in 1 evaluations."
    assert caplog.messages[-1].splitlines()[1].startswith("Selected checkpoint: step 1 (epoch 0.25), validation UAR ")
    assert caplog.messages[-1].splitlines()[2].startswith(f"Next: hf-ser predict {out} CLIP.wav, or hf-ser evaluate")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "validation UAR 0." in printed.err
    assert "{" not in printed.err


def test_a_small_validation_part_is_warned_of(toy, encoder, tmp_path, caplog, monkeypatch):
    from datasets import DatasetDict

    small = DatasetDict({**toy, "validation": toy["validation"].select(range(5))})
    monkeypatch.setattr("hf_ser.training.run.plan", _interrupt)
    options = {"recipe": "lora_classifier", "args": arguments("full", tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        finetune(encoder(), small, output_dir=tmp_path / "out", **options)
    assert "the validation part has 5 clips, only 1 speaker and no clip of neutral, sad, surprise" in caplog.text
    assert not (tmp_path / "out").exists()


def _interrupt(*_, **__):
    raise KeyboardInterrupt


def test_an_interrupted_run_says_how_to_go_on(toy, encoder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("hf_ser.training.run._finish", _interrupt)
    monkeypatch.setattr("sys.argv", ["/bin/hf-ser", "finetune", "--model", "m", "--overwrite"])
    with pytest.raises(KeyboardInterrupt):
        finetune(
            encoder(), toy, recipe="lora_classifier", output_dir=tmp_path, args=arguments("lora_classifier", tmp_path)
        )
    assert "interrupted; continue by: hf-ser finetune --model m --resume" in caplog.text


def test_the_same_seed_gives_the_same_run_and_another_seed_another(toy, encoder, tmp_path):
    def run(folder, **changes):
        result = finetune(encoder(), toy, output_dir=tmp_path / folder, args=arguments("lora_qkv", tmp_path, **changes))
        return result.metrics, result.run["history"]

    assert run("a") == run("b", dataloader_num_workers=2)
    assert run("c", seed=7) != run("a2")


def test_the_saved_model_has_to_be_the_trained_one(toy, encoder, tmp_path, monkeypatch):
    from hf_ser.models.checkpoint import save_model
    from hf_ser.training import run as module

    def save_another(model, *options):
        before = model.classifier.bias.detach().clone()
        model.classifier.bias.data += 1e-3
        save_model(model, *options)
        model.classifier.bias.data.copy_(before)

    monkeypatch.setattr(module, "save_model", save_another)
    with pytest.raises(InputError, match=r"the saved model differs from the trained one by \d.*checkpoints are kept"):
        finetune(encoder(), toy, recipe="full", output_dir=tmp_path / "out", args=arguments("full", tmp_path))
    assert list((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    assert not (tmp_path / "out" / "run.json").exists()


def test_dora_on_the_head_is_saved_exactly(toy, encoder, tmp_path):
    chosen = recipe("lora_classifier", lora={"use_dora": True})
    result = finetune(
        encoder(), toy, recipe=chosen, output_dir=tmp_path / "out", args=arguments("lora_classifier", tmp_path)
    )
    assert result.run["model"]["adapters_alive"] == 2
    assert load(result.output_dir).labels == EMOTIONS


def test_the_paper_setting_is_the_papers(toy, encoder, tmp_path, monkeypatch):
    from datasets import concatenate_datasets

    pooled = concatenate_datasets(list(toy.values()))
    seen = []

    def look(job, folder):
        seen.append(job)
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_ser.training.run.execute", look)
    with pytest.raises(KeyboardInterrupt):
        finetune(encoder(), pooled, recipe="lora_classifier", output_dir=tmp_path / "out", paper=True)
    (job,) = seen
    assert (job.arguments.learning_rate, job.arguments.num_train_epochs) == (1e-5, 50)
    assert (job.chosen.head_start, job.chosen.patience, job.chosen.balance_labels) == ("noise", None, False)
    assert job.source.protocol == "paper"
    assert not job.source.proof.speaker_disjoint
    for options, words in (({"protocol": "fold_1"}, "not 'fold_1'"), ({"args": job.arguments}, "not both")):
        with pytest.raises(InputError, match=words):
            finetune(encoder(), pooled, output_dir=tmp_path / "out", paper=True, **options)


def test_the_papers_head_is_noise_and_takes_nothing_over(toy, encoder, tmp_path):
    chosen = recipe("full", head_start="noise", normalize_features=False)
    result = finetune(
        encoder(labels=["neu", "hap", "ang", "sad"]), toy, recipe=chosen, output_dir=tmp_path / "out",
        args=arguments("full", tmp_path, learning_rate=0.0, max_steps=1),
    )  # fmt: skip
    assert result.run["head"] == {"head": "new", "kept_labels": []}
    head = load(result.output_dir).model.classifier
    assert float(head.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    assert not head.bias.any()


def test_one_bad_clip_stops_before_anything_is_written(toy, encoder, tmp_path):
    from datasets import Audio, Dataset

    (tmp_path / "a.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    rows = {"audio": [str(tmp_path / "a.wav")] * 3, "emotion": ["sad"] * 3, "speaker": ["x", "y", "z"]}
    with pytest.raises(InputError, match=r"a\.wav"):
        finetune(
            encoder(), Dataset.from_dict(rows).cast_column("audio", Audio(decode=False)), output_dir=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_augmentation_changes_what_is_learned(toy, encoder, tmp_path):
    noise = Augmentation(noise_probability=1.0, noise_snr_db=(0.0, 0.0))
    runs = {
        str(augmentation is None): finetune(
            encoder(), toy, recipe="full", output_dir=tmp_path / str(augmentation is None), augmentation=augmentation,
            args=arguments("full", tmp_path, num_train_epochs=1),
        )
        for augmentation in (None, noise)
    }  # fmt: skip
    assert runs["False"].run["augmentation"]["noise_probability"] == 1.0
    assert runs["False"].run["training_loss"] != pytest.approx(runs["True"].run["training_loss"], rel=1e-3)


def test_the_recipes_balance_reaches_the_loss(toy, encoder, tmp_path):
    from datasets import DatasetDict

    uneven = DatasetDict({**toy, "train": toy["train"].select([*range(8), 8, 16, 24])})
    losses = {}
    for balance in (False, True):
        result = finetune(
            encoder(),
            uneven,
            recipe=recipe("lora_classifier", balance_labels=balance, head_dropout=0.0),
            output_dir=tmp_path / str(balance),
            args=arguments("lora_classifier", tmp_path, learning_rate=0.0, max_steps=8),
        )
        losses[balance] = result.run["training_loss"]
    assert losses[True] != pytest.approx(losses[False], rel=1e-3)
