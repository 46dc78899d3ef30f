"""Which training arguments a run takes, and which it refuses."""

import logging

import pytest
from transformers import TrainingArguments

from hf_ser import InputError, recipe, training_arguments
from hf_ser.models.recipes import PAPER_RECIPES, paper_recipe
from hf_ser.training.arguments import PAPER_ARGUMENTS, for_this_job


def test_what_was_left_at_the_defaults_of_transformers_comes_from_the_recipe(tmp_path, caplog):
    given = TrainingArguments(output_dir=str(tmp_path), weight_decay=0.5, use_cpu=True)
    with caplog.at_level(logging.INFO, "hf_ser"):
        taken = for_this_job(given, recipe("lora_qkv"), tmp_path / "checkpoints")
    assert (taken.learning_rate, taken.num_train_epochs, taken.per_device_train_batch_size) == (5e-4, 10, 16)
    assert taken.weight_decay == 0.5
    assert given.learning_rate == 5e-5
    (line,) = caplog.messages
    assert line.startswith(
        "arguments left at their defaults take the values of recipe 'lora_qkv': learning_rate 0.0005"
    )
    assert "weight_decay" not in line


def test_what_our_own_arguments_say_is_kept(tmp_path, caplog):
    given = training_arguments("full", tmp_path, learning_rate=5e-5, num_train_epochs=3, use_cpu=True)
    with caplog.at_level(logging.INFO, "hf_ser"):
        taken = for_this_job(given, recipe("full"), tmp_path / "checkpoints")
    assert (taken.learning_rate, taken.num_train_epochs) == (5e-5, 3)
    assert not caplog.messages
    assert given.output_dir == str(tmp_path)
    assert (taken.output_dir, taken.metric_for_best_model) == (str(tmp_path / "checkpoints"), "uar")
    assert taken.eval_strategy.value == taken.save_strategy.value == "epoch"


def test_saving_follows_the_evaluation(tmp_path):
    given = training_arguments("full", tmp_path, eval_strategy="steps", eval_steps=7, save_total_limit=1, use_cpu=True)
    taken = for_this_job(given, recipe("full"), tmp_path)
    assert (taken.save_strategy.value, taken.save_steps, taken.save_total_limit) == ("steps", 7, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"push_to_hub": True}, "push_to_hub"), ({"metric_for_best_model": "f1"}, "models are chosen by 'uar'"),
     ({"num_train_epochs": 0}, "num_train_epochs is 0; give a number above 0"),
     ({"report_to": "comet_ml"}, "report_to names comet_ml, not installed here")],
)  # fmt: skip
def test_what_this_job_does_not_do_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        for_this_job(training_arguments("full", tmp_path, use_cpu=True, **changes), recipe("full"), tmp_path)


@pytest.mark.parametrize("name", ["fsdp", "deepspeed"])
def test_sharding_is_refused_by_name(tmp_path, monkeypatch, name):
    given = training_arguments("full", tmp_path, use_cpu=True)
    monkeypatch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
    with pytest.raises(InputError, match=f"{name} is not supported: .*torchrun"):
        for_this_job(given, recipe("full"), tmp_path)


def test_a_field_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(InputError, match="unexpected keyword argument 'epochs'; see the fields"):
        training_arguments("full", tmp_path, epochs=3)


@pytest.mark.parametrize("name", list(PAPER_RECIPES))
def test_the_papers_setting_is_the_papers(name, tmp_path):
    """The stock head from noise, plain cross-entropy, Adam at 1e-5 for every part, 50 epochs, nothing else."""
    chosen = paper_recipe(name)
    made = for_this_job(training_arguments(chosen, tmp_path, use_cpu=True, **PAPER_ARGUMENTS), chosen, tmp_path)
    assert (chosen.head_start, chosen.normalize_features, chosen.head_dropout, chosen.balance_labels) == (
        "noise", False, 0.0, False)  # fmt: skip
    assert (chosen.learning_rate_scale, chosen.patience, chosen.encoder_settings) == ({}, None, {})
    assert (chosen.trains, chosen.lora) == (recipe(name).trains, recipe(name).lora)
    expected = {
        "per_device_train_batch_size": recipe(name).batch_size,
        "learning_rate": 1e-5, "num_train_epochs": 50, "weight_decay": 0.0, "warmup_steps": 0, "max_grad_norm": 0.0,
        "label_smoothing_factor": 0.0, "gradient_accumulation_steps": 1, "adam_beta1": 0.9, "adam_beta2": 0.999,
        "adam_epsilon": 1e-8, "max_steps": -1,
    }  # fmt: skip
    assert {key: getattr(made, key) for key in expected} == expected
    assert (made.optim.value, made.lr_scheduler_type.value) == ("adamw_torch", "constant")
