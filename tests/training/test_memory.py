"""A batch that does not fit into memory passes in parts, and the run learns what it would have learned."""

import contextlib
import functools
import logging

import pytest
import torch
from safetensors.torch import load_file
from transformers import HubertForSequenceClassification
from transformers.models.hubert.modeling_hubert import HubertEncoderStableLayerNorm

from hf_ser import InputError, finetune, recipe, training_arguments
from hf_ser.training.memory import _parts
from hf_ser.training.trainer import EmotionTrainer


@pytest.fixture
def train(toy, encoder, tmp_path):
    """Return a function that fine-tunes in a folder of a name, without any pass but those of the steps."""

    def run(name, chosen="full", **changes):
        settings = {
            "num_train_epochs": 1,
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 8,
            "gradient_accumulation_steps": 2,
            "optim": "sgd",
            "learning_rate": 0.05,
            "warmup_steps": 0,
            "use_cpu": True,
            "disable_tqdm": True,
        }
        plain = recipe(
            chosen, normalize_features=False, head_start="checkpoint", learning_rate_scale={}, balance_labels=True
        )
        arguments = training_arguments(plain, tmp_path, **{**settings, **changes})
        return finetune(encoder(), toy, recipe=plain, output_dir=tmp_path / name, args=arguments)

    return run


def weights(result, file="model.safetensors"):
    return load_file(str(result.output_dir / file))


def limit(monkeypatch, fits, *, training=True, error=torch.OutOfMemoryError, in_backward=False):
    """Let the model fail on batches of more clips than fit; return the sizes that passed."""
    forward, sizes = HubertForSequenceClassification.forward, []

    def fail(*_):
        raise error("CUDA out of memory.")

    @functools.wraps(forward)
    def limited(self, input_values=None, **inputs):
        counts = self.training == training and torch.is_grad_enabled() == training
        if counts and len(input_values) > fits:
            if not in_backward:
                fail()
            # By the time that it gets there, what lies above has its gradient already.
            output = forward(self, input_values, output_hidden_states=True, **inputs)
            output.hidden_states[-2].register_hook(fail)
            return output
        if counts:
            sizes.append(len(input_values))
        return forward(self, input_values, **inputs)

    monkeypatch.setattr(HubertForSequenceClassification, "forward", limited)
    return sizes


@pytest.mark.parametrize("chosen", ["full", "lora_qkv"])
@pytest.mark.parametrize("in_backward", [False, True])
def test_parts_learn_the_same(train, monkeypatch, caplog, chosen, in_backward):
    file = "model.safetensors" if chosen == "full" else "adapter_model.safetensors"
    whole = train("whole", chosen)
    assert whole.run["step"] == {
        "attention": "sdpa",
        "precision": "fp32",
        "optimizer": "sgd",
        "gradient_checkpointing": False,
        "compiled": False,
        "batch_parts": 1,
        "batch_parts_since_step": None,
    }
    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        sizes = limit(patch, 3, in_backward=in_backward)
        parts = train("parts", chosen)
    assert (parts.run["step"]["batch_parts"], parts.run["step"]["batch_parts_since_step"]) == (4, 1)
    assert set(sizes) - {8} <= {2, 1}
    assert "a batch of 8 clips does not fit into memory; from now on each passes in 4 parts" in caplog.text
    assert parts.run["steps"] == whole.run["steps"] == 2
    assert parts.run["training_loss"] == pytest.approx(whole.run["training_loss"], rel=1e-5)
    expected, found = weights(whole, file), weights(parts, file)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_a_failure_within_an_accumulated_step_starts_the_step_over(train, monkeypatch):
    whole = train("whole")
    forward, calls = HubertForSequenceClassification.forward, []

    @functools.wraps(forward)
    def second_fails(self, input_values=None, **inputs):
        if self.training and torch.is_grad_enabled():
            calls.append(len(input_values))
            if len(calls) == 2:
                # What a processor says when memory is short.
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return forward(self, input_values, **inputs)

    with monkeypatch.context() as patch:
        patch.setattr(HubertForSequenceClassification, "forward", second_fails)
        parts = train("parts")
    assert calls == [8, 8, 4, 4, 4, 4, 4, 4, 4, 4]
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_evaluation_is_halved_too(train, monkeypatch):
    whole = train("whole")
    with monkeypatch.context() as patch:
        sizes = limit(patch, 2, training=False)
        halves = train("halves")
    assert max(sizes) == 2
    for part in ("validation", "test"):
        assert halves.metrics[part]["pooled"]["uar"] == whole.metrics[part]["pooled"]["uar"]
    losses = [[entry["loss"] for entry in run.run["history"]] for run in (whole, halves)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_where_not_one_clip_fits_a_line_says_what_to_do(train, monkeypatch):
    limit(monkeypatch, 0)
    with pytest.raises(InputError, match="step 1: not even one clip fits into memory; set gradient_checkpointing"):
        train("none")


def test_other_errors_pass_through(train, monkeypatch):
    limit(monkeypatch, 3, error=lambda _: RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train("none")


def test_several_processes_are_told_rather_than_left_waiting(train, monkeypatch):
    from hf_ser.training import memory

    limit(monkeypatch, 3)
    halve = memory.PartwiseTrainer._halve

    def as_two(self, inputs):
        monkeypatch.setattr(type(self.args), "world_size", property(lambda _: 2))
        halve(self, inputs)

    monkeypatch.setattr(memory.PartwiseTrainer, "_halve", as_two)
    with pytest.raises(InputError, match="half the per_device_train_batch_size"):
        train("two")


def test_parts_hold_every_clip_once():
    batch = {"input_values": torch.arange(10).view(5, 2), "labels": torch.arange(5)}
    for count in (1, 2, 4, 8):
        parts = _parts(batch, count)
        assert len(parts) == min(count, 5)
        assert all(len(part["labels"]) >= 1 for part in parts)
        assert torch.equal(torch.cat([part["input_values"] for part in parts]), batch["input_values"])


@pytest.mark.parametrize("chosen", ["full", "lora_qkv"])
@pytest.mark.parametrize(
    "architecture", ["hubert", *(pytest.param(name, marks=pytest.mark.slow) for name in ("wav2vec2", "whisper"))]
)
def test_gradient_checkpointing_learns_the_same(toy, encoder, tmp_path, chosen, architecture):
    file = "model.safetensors" if chosen == "full" else "adapter_model.safetensors"
    found = []
    for checkpointing in (False, True):
        plain = recipe(chosen, normalize_features=False, head_start="checkpoint")
        arguments = training_arguments(
            plain, tmp_path, num_train_epochs=1, optim="sgd", learning_rate=0.05, warmup_steps=0, use_cpu=True,
            disable_tqdm=True, gradient_checkpointing=checkpointing,
        )  # fmt: skip
        out = tmp_path / str(checkpointing)
        result = finetune(encoder(architecture), toy, recipe=plain, output_dir=out, args=arguments)
        found.append(weights(result, file))
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("chosen", ["full", "lora_qkv"])
def test_the_front_end_in_training_learns_what_the_stock_one_does(train, monkeypatch, chosen):
    file = "model.safetensors" if chosen == "full" else "adapter_model.safetensors"
    graphs = []
    forward = HubertEncoderStableLayerNorm.forward

    @functools.wraps(forward)
    def watched(self, hidden_states, **options):
        if self.training:
            graphs.append(hidden_states.requires_grad)
        return forward(self, hidden_states, **options)

    monkeypatch.setattr(HubertEncoderStableLayerNorm, "forward", watched)
    sooner = train("sooner", chosen)
    assert any(graphs) == (chosen == "full")
    monkeypatch.setattr(EmotionTrainer, "_front_end_in_training", lambda _: contextlib.nullcontext())
    stock = train("stock", chosen)
    for name, tensor in weights(stock, file).items():
        torch.testing.assert_close(weights(sooner, file)[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
