import csv
import json

import numpy as np
import pytest

from hf_ser import finetune, load, recipe, training_arguments
from hf_ser.errors import InputError
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.labels import EMOTIONS
from hf_ser.models.recipes import RECIPES

FILES = {".hf_ser", "README.md", "config.json", "confusion.png", "metrics.json", "predictions.csv",
         "preprocessor_config.json", "report.md", "run.json"}  # fmt: skip


def arguments(name, folder, **changes):
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    return training_arguments(name, folder, **{**settings, **changes})


@pytest.fixture(scope="module")
def finished(toy, encoder, tmp_path_factory):
    """Return each recipe's finished run."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: finetune(
            encoder(),
            toy,
            recipe=name,
            output_dir=folder / name,
            args=arguments(name, folder),
            cache_features=False,
        )
        for name in RECIPES
    }


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_folder_holds_all_that_was_promised(name, finished):
    result = finished[name]
    weights = {"model.safetensors"} if name == "full" else {"adapter_model.safetensors", "adapter_config.json"}
    assert {file.name for file in result.output_dir.iterdir()} == FILES | weights
    run = json.loads((result.output_dir / "run.json").read_text())
    assert run == json.loads(json.dumps(result.run))
    assert run["seeds"] == {"weights": 42, "order": 42, "augmentation": 42, "bootstrap": 42}
    assert run["best"]["validation_uar"] == max(entry["uar"] for entry in run["history"])
    assert run["model"]["trainable_parameters"] > 0
    assert run["seconds"]["total"] > 0
    assert 0 < run["input_wait_share"] < 1
    # Pooled features have no padding.
    assert run.get("padding_share", 0) < 0.1
    assert ("padding_share" in run) is (name != "lora_classifier")
    assert run["peak_memory_bytes"]["host"] > 1e8
    assert run["dataset"]["proof"]["speaker_disjoint"] is True
    assert len(run["dataset"]["fingerprint"]) == 64
    assert run["versions"]["transformers"]
    assert (result.output_dir / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "UAR" in (result.output_dir / "report.md").read_text()
    assert (result.output_dir / "README.md").read_text().startswith("---\n")


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_model_that_is_loaded_is_the_model_that_was_evaluated(name, finished, toy):
    """The scores written at the end come back from the saved files, clip by clip."""
    classifier = load(finished[name].output_dir)
    assert classifier.labels == EMOTIONS
    with (finished[name].output_dir / "predictions.csv").open() as stream:
        written = {row["clip_id"]: row for row in csv.DictReader(stream)}
    for clip in toy["test"].select(range(0, 24, 5)):
        answer = classifier(clip["audio"]["path"])
        row = written[clip["clip_id"]]
        assert answer["label"] == row["predicted"]
        assert all(abs(answer["scores"][label] - float(row[label])) < 1e-5 for label in EMOTIONS)


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_metrics_follow_from_the_predictions(name, finished):
    with (finished[name].output_dir / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    again = evaluate_scores(
        np.array([[float(row[label]) for label in EMOTIONS] for row in rows]),
        np.array([EMOTIONS.index(row["emotion"]) for row in rows]),
        labels=EMOTIONS,
        corpora=[row["corpus"] for row in rows],
        speakers=[row["speaker"] for row in rows],
        seed=42,
    )
    test = finished[name].metrics["test"]
    assert test["pooled"]["confusion"] == again["pooled"]["confusion"]
    assert test["pooled"]["uar"] == again["pooled"]["uar"]
    assert set(test["corpora"]) == {"toy_a", "toy_b"}


def test_it_learns(finished):
    """Eight tones, an octave apart: a recipe that learns nothing would stay at 1/8."""
    for name, result in finished.items():
        assert result.report["uar"] > 0.3, name


def test_the_same_seed_gives_the_same_run_and_another_seed_another(toy, encoder, tmp_path):
    def run(folder, **changes):
        result = finetune(
            encoder(), toy, output_dir=tmp_path / folder, args=arguments("lora_qkv", tmp_path, **changes),
            cache_features=False,
        )  # fmt: skip
        return result.metrics

    assert run("a") == run("b", dataloader_num_workers=2)
    assert run("c", seed=7) != run("a2")


def test_a_run_killed_within_an_epoch_goes_on_with_the_batch_that_was_next(toy, encoder, tmp_path, monkeypatch):
    from hf_ser.training.trainer import EmotionTrainer

    seen = []
    original = EmotionTrainer.compute_loss

    def look(self, model, inputs, *arguments, **options):
        if model.training:
            seen.append(sorted(inputs["labels"].tolist()))
            if len(seen) == 6:
                raise KeyboardInterrupt
        return original(self, model, inputs, *arguments, **options)

    monkeypatch.setattr(EmotionTrainer, "compute_loss", look)
    by_steps = {"eval_strategy": "steps", "eval_steps": 1, "num_train_epochs": 3}
    options = {"recipe": "full", "cache_features": False, "seconds_per_batch": 4.0, "patience": None}
    options["output_dir"] = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune(encoder(), toy, args=arguments("full", tmp_path, **by_steps), **options)
    first = list(seen)
    # From here on nothing interrupts: the list is longer than that.
    seen += [[]]
    result = finetune(encoder(), toy, args=arguments("full", tmp_path, **by_steps), resume=True, **options)
    again = seen[7:]
    assert again[0] == first[5]
    whole = [*first[:5], *again]
    labels = sorted(toy["train"]["emotion"])
    each = result.run["steps"] // 3
    epochs = [sorted(label for batch in whole[k * each : (k + 1) * each] for label in batch) for k in range(3)]
    assert epochs == [labels] * 3
    assert result.run["seconds_per_batch"] == 4.0
    assert len({len(batch) for batch in whole}) > 1


def test_parts_that_share_a_speaker_are_refused_unless_said_so(toy, encoder, tmp_path):
    from datasets import DatasetDict

    leaky = DatasetDict({**toy, "test": toy["train"]})
    with pytest.raises(InputError, match="share speakers"):
        finetune(encoder(), leaky, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_paper_setting_is_the_papers(toy, encoder, tmp_path):
    from datasets import concatenate_datasets

    pooled = concatenate_datasets(list(toy.values()))
    seen = {}

    class Stop(Exception):
        pass

    import hf_ser.training.run as module

    def look(self, augmentation, *, keep_checkpoints):
        seen.update(arguments=self.arguments, recipe=self.chosen, source=self.source)
        raise Stop

    original = module.Run.execute
    module.Run.execute = look
    try:
        with pytest.raises(Stop):
            finetune(encoder(), pooled, recipe="full", output_dir=tmp_path / "out", paper=True)
    finally:
        module.Run.execute = original
    made = seen["arguments"]
    assert (made.learning_rate, made.num_train_epochs, made.optim.value, made.weight_decay) == (
        1e-5, 50, "adamw_torch", 0.0)  # fmt: skip
    assert seen["recipe"].learning_rate_scale == {}
    assert seen["source"].protocol == "paper"
    assert not seen["source"].proof.speaker_disjoint
    assert made.metric_for_best_model == "uar"
    with pytest.raises(InputError, match="not 'fold_1'"):
        finetune(encoder(), pooled, output_dir=tmp_path / "out", paper=True, protocol="fold_1")


def test_one_bad_clip_stops_before_anything_is_written(toy, encoder, tmp_path):
    from datasets import Audio, Dataset

    (tmp_path / "a.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    rows = {"audio": [str(tmp_path / "a.wav")] * 3, "emotion": ["sad"] * 3, "speaker": ["x", "y", "z"]}
    with pytest.raises(InputError, match=r"a\.wav"):
        finetune(
            encoder(), Dataset.from_dict(rows).cast_column("audio", Audio(decode=False)), output_dir=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_a_data_set_without_labels_or_speakers_is_named(toy, encoder, tmp_path):
    for column, message in (
        ("emotion", "no labels"),
        ("speaker", "no column 'speaker'"),
        ("audio", "no column 'audio'"),
    ):
        with pytest.raises(InputError, match=message):
            finetune(encoder(), toy.remove_columns(column), output_dir=tmp_path / "out")


def test_dropout_is_measured_before_it_is_believed(toy, encoder, tmp_path, caplog):
    result = finetune(
        encoder(), toy, recipe=recipe("full", encoder_settings={"hidden_dropout": 0.9}), output_dir=tmp_path / "out",
        args=arguments("full", tmp_path, max_steps=1), cache_features=False,
    )  # fmt: skip
    measured = result.run["model"]["dropout"]
    assert measured["rates"] == {"hidden_dropout": 0.9}
    assert measured["loss_with"] != measured["loss_without"]


def test_the_trainers_own_upload_is_refused(toy, encoder, tmp_path):
    with pytest.raises(InputError, match="push_to_hub"):
        finetune(encoder(), toy, output_dir=tmp_path / "out", args=arguments("full", tmp_path, push_to_hub=True))


def test_augmentation_with_a_frozen_encoder_passes_the_audio_again(toy, encoder, tmp_path):
    from hf_ser import Augmentation

    result = finetune(
        encoder(), toy, recipe="lora_classifier", output_dir=tmp_path / "out", augmentation=Augmentation(),
        args=arguments("lora_classifier", tmp_path), cache_features=False,
    )  # fmt: skip
    assert result.run["augmentation"]["noise_probability"] == 0.3
    assert load(result.output_dir).labels == EMOTIONS


def test_a_balanced_loss_weighs_labels_not_clips():
    import torch

    from hf_ser.training.scoring import balanced_weights

    labels = torch.tensor([0] * 30 + [1] * 10)
    weights = balanced_weights(labels, 3)
    losses = torch.where(labels == 0, 1.0, 5.0)
    assert (weights[labels] * losses).mean() == pytest.approx(3.0)
    assert weights[2] == 0


def test_the_recipes_balance_reaches_the_loss(toy, encoder, tmp_path):
    from datasets import DatasetDict

    uneven = DatasetDict({**toy, "train": toy["train"].select([*range(32), *[0] * 32])})
    losses = {}
    for balance in (False, True):
        result = finetune(
            encoder(),
            uneven,
            recipe=recipe("lora_classifier", balance_labels=balance, head_dropout=0.0),
            output_dir=tmp_path / str(balance),
            args=arguments("lora_classifier", tmp_path, learning_rate=0.0, max_steps=8),
            cache_features=False,
        )
        losses[balance] = result.run["training_loss"]
    assert losses[True] != pytest.approx(losses[False], rel=1e-3)
