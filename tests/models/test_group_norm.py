"""Encoders with a group norm give a clip the same logits alone and in a padded batch."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hf_ser.models.adapting import adapt
from hf_ser.models.encoders import open_encoder
from hf_ser.models.group_norm import normalize_each_clip
from hf_ser.models.recipes import recipe

GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LENGTHS = (16_000, 9001, 5000)


def padded(seed=0, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(seed)
    values = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(values, lengths, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).int()
    return {"input_values": values, "attention_mask": mask}


def alone(batch):
    for clip, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        yield {name: tensor[clip : clip + 1, :length] for name, tensor in batch.items()}


def gradients(model, *batches):
    model.zero_grad()
    torch.cat([model(**batch).logits for batch in batches]).square().sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("architecture", ["hubert", "wav2vec2", "wavlm"])
def test_logits_and_gradients_do_not_depend_on_padding(architecture, encoder):
    model = open_encoder(str(encoder(architecture, **GROUP)))[0]
    batch = padded()
    with torch.no_grad():
        expected = torch.cat([model(**clip).logits for clip in alone(batch)])
        assert (model(**batch).logits - expected).abs().max() < 1e-5
    for name, gradient in gradients(model, batch).items():
        one_by_one = gradients(model, *alone(batch))[name]
        assert torch.allclose(gradient, one_by_one, rtol=1e-3, atol=1e-4), name


def test_stock_logits_depend_on_padding_and_agree_without_it(encoder):
    """What the module is for, and that it changes nothing else."""
    from transformers import HubertForSequenceClassification

    torch.manual_seed(0)
    stock = HubertForSequenceClassification.from_pretrained(str(encoder(labels=["a", "b"], **GROUP)))
    model = copy.deepcopy(stock)
    normalize_each_clip(model)
    batch = padded()
    with torch.no_grad():
        expected = torch.cat([stock(**clip).logits for clip in alone(batch)])
        assert torch.equal(torch.cat([model(**clip).logits for clip in alone(batch)]), expected)
        assert torch.equal(model(batch["input_values"]).logits, stock(batch["input_values"]).logits)
        assert (stock(**batch).logits - expected).abs().max() > 1e-3
        assert (model(**batch).logits - expected).abs().max() < 1e-5
    assert list(model.state_dict()) == list(stock.state_dict())
    norm = model.hubert.feature_extractor.conv_layers[0].layer_norm
    normalize_each_clip(model)
    assert model.hubert.feature_extractor.conv_layers[0].layer_norm is norm


def test_threads_and_copies_keep_their_own_lengths(encoder):
    model = open_encoder(str(encoder(**GROUP)))[0]
    models = [model, copy.deepcopy(model)]
    batches = [padded(seed, LENGTHS[seed % 3 :] + LENGTHS[: seed % 3]) for seed in range(24)]

    def run(number):
        with torch.no_grad():
            return models[number % 2](**batches[number]).logits

    expected = [run(number) for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for found, logits in zip(pool.map(run, range(24)), expected, strict=True):
            assert torch.equal(found, logits)


def test_checkpointed_activations_have_the_same_gradients(encoder):
    model = open_encoder(str(encoder(**GROUP)))[0]
    model.train()
    batch = padded()
    expected = gradients(model, batch)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for name, gradient in gradients(model, batch).items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


def test_saving_and_adapting_see_a_plain_model(encoder, tmp_path):
    from transformers import HubertForSequenceClassification

    model = open_encoder(str(encoder(**GROUP)))[0]
    model.save_pretrained(str(tmp_path))
    again = HubertForSequenceClassification.from_pretrained(str(tmp_path))
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    batch = padded()
    adapted = adapt(model, recipe("lora_qkv")).eval()
    with torch.no_grad():
        expected = torch.cat([again(**clip).logits for clip in alone(batch)])
        assert (adapted(**batch).logits - expected).abs().max() < 1e-5


def test_layer_norm_encoders_and_whisper_are_left_alone(encoder):
    for architecture in ("hubert", "whisper"):
        model = open_encoder(str(encoder(architecture)))[0]
        assert not any("EachClip" in type(module).__name__ for module in model.modules())
