"""The front end written anew gives the numbers of `transformers`, for every architecture that has one."""

import copy

import pytest
import torch
from transformers import AutoModelForAudioClassification

from hf_ser.models.convolutions import PositionalConvolution
from hf_ser.models.rewrites import FrontEnd

ARCHITECTURES = ["hubert", "wav2vec2", "wavlm"]
LENGTHS = (16_000, 9_001, 400, 12_345)


def opened(folder):
    torch.manual_seed(0)
    model = AutoModelForAudioClassification.from_pretrained(
        str(folder), num_labels=4, ignore_mismatched_sizes=True
    ).eval()
    # Larger differences between clips than a fresh head would show.
    torch.nn.init.normal_(model.projector.weight)
    torch.nn.init.normal_(model.classifier.weight)
    return model


def batch():
    generator = torch.Generator().manual_seed(1)
    values = torch.zeros(len(LENGTHS), max(LENGTHS))
    mask = torch.zeros(values.shape, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        values[row, :length] = torch.randn(length, generator=generator)
        mask[row, :length] = 1
    return values, mask


def alone(model, values, mask):
    """Each clip by itself, as `transformers` computes it."""
    rows = [(row[None, : ends.sum()], ends[None, : ends.sum()]) for row, ends in zip(values, mask, strict=True)]
    return torch.cat([model(clip, attention_mask=ends).logits for clip, ends in rows])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("kernel", [16, 17, 128])
@torch.inference_mode()
def test_each_clip_of_a_padded_batch_answers_as_it_does_alone(encoder, architecture, norm, kernel):
    stable = norm == "layer"
    folder = encoder(
        architecture,
        feat_extract_norm=norm,
        num_conv_pos_embeddings=kernel,
        conv_bias=stable,
        do_stable_layer_norm=stable,
    )
    model = opened(folder)
    front_end = FrontEnd(model)
    assert front_end.applies
    values, mask = batch()
    expected = alone(model, values, mask)
    with front_end.active():
        together = model(values, attention_mask=mask).logits
    assert (together - expected).abs().max() < 1e-5 * max(1.0, float(expected.abs().max()))
    stock = model(values, attention_mask=mask).logits
    # What the group norm does to padded clips is no rounding error.
    assert norm == "layer" or (stock - expected).abs().max() > 1e-3


@torch.inference_mode()
def test_frames_do_not_depend_on_where_the_pieces_end(encoder, monkeypatch):
    model = opened(encoder())
    clip = torch.randn(1, 50_000, generator=torch.Generator().manual_seed(2))
    stock = model.hubert.feature_extractor(clip)
    front_end = FrontEnd(model)
    monkeypatch.setattr("hf_ser.models.convolutions._TILE_BYTES", 1)
    with front_end.active():
        pieces = model.hubert.feature_extractor(clip)
    assert pieces.shape == stock.shape
    torch.testing.assert_close(pieces, stock, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_positions_of_a_clip_longer_than_a_block(encoder):
    positions = opened(encoder(num_conv_pos_embeddings=128)).hubert.encoder.pos_conv_embed
    for frames in (1, 256, 257, 258, 700):
        hidden = torch.randn(2, frames, 32, generator=torch.Generator().manual_seed(frames))
        torch.testing.assert_close(PositionalConvolution(positions)(hidden), positions(hidden), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_model_is_as_before_afterwards_and_changed_weights_are_seen(encoder):
    model = opened(encoder())
    names = list(model.state_dict())
    front_end, (values, mask) = FrontEnd(model), batch()
    before = model(values, attention_mask=mask).logits
    with front_end.active(), front_end.active():
        first = model(values, attention_mask=mask).logits
    assert torch.equal(model(values, attention_mask=mask).logits, before)
    assert list(model.state_dict()) == names
    assert not model.hubert._forward_pre_hooks
    with torch.inference_mode(False), torch.no_grad():
        for parameter in model.hubert.encoder.pos_conv_embed.parameters():
            parameter.mul_(1.5)
        weight = model.hubert.feature_extractor.conv_layers[2].conv.weight
        weight.grad = torch.ones_like(weight)
        # It leaves the tensor's version as it was.
        torch.optim.AdamW([weight], lr=0.1, fused=True).step()
    with front_end.active():
        second = model(values, attention_mask=mask).logits
    torch.testing.assert_close(second, model(values, attention_mask=mask).logits, atol=1e-5, rtol=1e-5)
    assert (first - second).abs().max() > 1e-3


@torch.inference_mode()
def test_half_precision_and_autocast_compute_the_front_end_in_single_precision(encoder):
    model, (values, mask) = opened(encoder(feat_extract_norm="group")), batch()
    front_end = FrontEnd(model)
    expected = alone(model, values, mask)
    with front_end.active(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(values, attention_mask=mask).logits
    half = copy.deepcopy(model).bfloat16()
    with FrontEnd(half).active():
        low = half(values.bfloat16(), attention_mask=mask).logits
    scale = float(expected.abs().max())
    assert low.dtype == torch.bfloat16
    assert (mixed.float() - expected).abs().max() < 0.05 * scale
    assert (low.float() - expected).abs().max() < 0.1 * scale


def test_what_is_hooked_or_adapted_stays_as_it_is(encoder):
    hooked = opened(encoder())
    hooked.hubert.feature_extractor.conv_layers[1].register_forward_hook(lambda *_: None)
    assert not FrontEnd(hooked).applies
    assert not FrontEnd(opened(encoder("whisper"))).applies
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(opened(encoder()), LoraConfig(target_modules=["q_proj", "v_proj"]))
    assert FrontEnd(adapted).applies
    within = get_peft_model(opened(encoder()), LoraConfig(target_modules=r".*conv_layers\.3\.conv"))
    assert not FrontEnd(within).applies


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("architecture", ["hubert", "wav2vec2"])
def test_gradients_are_those_of_each_clip_alone(encoder, architecture, norm, recompute):
    stable = norm == "layer"
    model = opened(encoder(architecture, feat_extract_norm=norm, conv_bias=stable, do_stable_layer_norm=stable))
    values, mask = batch()
    weights = {name: weight for name, weight in model.named_parameters() if "masked_spec_embed" not in name}
    goal = torch.randn(len(values), 4, generator=torch.Generator().manual_seed(5))
    expected = torch.autograd.grad((alone(model, values, mask) * goal).sum(), list(weights.values()))
    with FrontEnd(model).trained(recompute=recompute):
        together = model(values, attention_mask=mask).logits
        found = torch.autograd.grad((together * goal).sum(), list(weights.values()))
    for name, mine, theirs in zip(weights, found, expected, strict=True):
        # In float32, gradients of sums over thousands of samples agree to a few in a hundred thousand.
        assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max() + 1e-6, name
    assert torch.allclose(together, alone(model, values, mask), atol=1e-4)
