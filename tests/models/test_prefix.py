"""What a frozen part made of clips, padded and batched, leads to the logits of the whole model."""

import numpy as np
import pytest
import torch
from torch import nn

from hf_ser.errors import InputError
from hf_ser.models.encoders import architecture_of, open_encoder
from hf_ser.models.head import FeatureStatistics, attach
from hf_ser.models.prefix import PrefixedModel, prefix_of
from hf_ser.models.recipes import adapt, recipe

GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
POST = {"do_stable_layer_norm": False}
ENCODERS = {
    "hubert": ("hubert", {}),
    "hubert, group norm": ("hubert", GROUP),
    "hubert, post norm": ("hubert", POST),
    "wav2vec2": ("wav2vec2", {}),
    "wav2vec2, group norm": ("wav2vec2", GROUP),
    "wavlm": ("wavlm", {}),
    "wavlm, group norm": ("wavlm", GROUP),
    "whisper": ("whisper", {}),
}
RECIPES = {
    "pooled": recipe("lora_classifier", head_dropout=0.0),
    "feature encoder": recipe("full", freeze_feature_encoder=True),
    "feature encoder, adapter": recipe("lora_qkv"),
    "lower layers": recipe("full", trained_layers=1),
    "lower layers, adapter": recipe("lora_qkv", trained_layers=1),
}
NOISE = {"hidden_dropout": 0.3, "attention_dropout": 0.3, "feat_proj_dropout": 0.3, "apply_spec_augment": True,
         "mask_time_prob": 0.4, "mask_time_length": 3}  # fmt: skip


def inputs(model, lengths=(9000, 5000, 16_000)):
    generator = torch.Generator().manual_seed(0)
    if model.config.model_type == "whisper":
        return {"input_features": torch.randn(len(lengths), 80, 3000, generator=generator)}
    values = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(values, lengths, strict=True):
        row[:length] = torch.randn(length, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).int()
    return {"input_values": values, "attention_mask": mask}


def one_by_one(batch):
    for clip in range(len(next(iter(batch.values())))):
        length = int(batch["attention_mask"][clip].sum()) if "attention_mask" in batch else None
        yield {name: tensor[clip : clip + 1, :length] for name, tensor in batch.items()}


def behind(encoder, case, chosen, **changes):
    architecture, own = ENCODERS[case]
    model = open_encoder(str(encoder(architecture, **{**own, **changes})))[0]
    adapted = adapt(model, chosen)
    # An adapter that was just made adds nothing; give it something to add.
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    hidden = model.config.hidden_size
    attach(adapted, FeatureStatistics(torch.linspace(-1, 1, hidden), torch.linspace(0.5, 2, hidden)))
    prefix = prefix_of(adapted, chosen)
    return adapted, None if prefix is None else PrefixedModel(adapted, prefix)


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("case", list(ENCODERS))
@torch.no_grad()
def test_the_logits_are_those_of_the_whole_model(case, name, encoder):
    if case.startswith("wavlm") and name.endswith("adapter"):
        pytest.skip("LoRA on WavLM's attention is refused")
    adapted, model = behind(encoder, case, RECIPES[name])
    if case == "whisper" and name.startswith("feature encoder"):
        assert model is None
        return
    model.eval()
    batch = inputs(adapted)
    expected = torch.cat([adapted(**clip).logits for clip in one_by_one(batch)])
    states = model.prefix.run(batch)
    for state, length in zip(states, (9000, 5000, 16_000), strict=True):
        assert tuple(state.shape) == model.prefix.shape(length)
    padded = nn.utils.rnn.pad_sequence(states, batch_first=True)
    kept = model(states=padded, attention_mask=batch.get("attention_mask"))["logits"]
    assert (kept - expected).abs().max() < 1e-5
    assert torch.equal(model(**batch)["logits"], kept)
    # The model itself is as it was.
    assert torch.equal(torch.cat([adapted(**clip).logits for clip in one_by_one(batch)]), expected)


@pytest.mark.parametrize("case", ["hubert", "hubert, group norm", "wav2vec2", "wavlm", "whisper"])
def test_the_weights_of_the_layers_train_on_pooled_vectors_of_each(case, encoder):
    chosen = recipe("full", trains=("layer_weights", "head"))
    assert chosen.encoder_is_frozen
    adapted, model = behind(encoder, case, chosen, use_weighted_layer_sum=True)
    nn.init.normal_(adapted.layer_weights)
    model.eval()
    batch = inputs(adapted)
    expected = torch.cat([adapted(**clip).logits for clip in one_by_one(batch)])
    states = torch.stack(model.prefix.run(batch))
    assert tuple(states.shape[1:]) == model.prefix.shape(1) == (adapted.config.num_hidden_layers + 1, 32)
    kept = model(states=states)["logits"]
    assert (kept - expected).abs().max() < 1e-5
    kept.square().sum().backward()
    gradient = adapted.layer_weights.grad.clone()
    adapted.layer_weights.grad = None
    expected.square().sum().backward()
    assert torch.allclose(gradient, adapted.layer_weights.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["feature encoder", "feature encoder, adapter", "lower layers"])
@pytest.mark.parametrize("case", ["hubert", "wav2vec2", "wavlm"])
def test_gradients_are_those_of_the_whole_model(case, name, encoder):
    if case == "wavlm" and name.endswith("adapter"):
        pytest.skip("LoRA on WavLM's attention is refused")
    adapted, model = behind(encoder, case, RECIPES[name])
    model.train()
    batch = inputs(adapted)
    gradients = []
    for logits in (adapted(**batch).logits, model(**batch)["logits"]):
        logits.square().sum().backward()
        trained = {name: weight.grad for name, weight in adapted.named_parameters() if weight.requires_grad}
        # The one weight that only SpecAugment uses, which is off.
        assert {name for name, gradient in trained.items() if gradient is None} <= {f"{case}.masked_spec_embed"}
        gradients.append([gradient.clone() for gradient in trained.values() if gradient is not None])
        adapted.zero_grad()
    assert gradients[0]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def differs(model, states, mask):
    with torch.no_grad():
        first, second = (model(states=states, attention_mask=mask)["logits"] for _ in range(2))
    return not torch.equal(first, second)


@pytest.mark.parametrize("case", ["hubert", "wav2vec2", "wavlm"])
def test_what_is_frozen_has_no_noise_and_what_trains_keeps_it(case, encoder):
    for name, noise, noisy in (
        ("feature encoder", {"apply_spec_augment": True, "mask_time_prob": 0.4, "mask_time_length": 3}, True),
        ("feature encoder", {"hidden_dropout": 0.3}, True),
        ("feature encoder", {}, False),
        ("lower layers", {"apply_spec_augment": True, "mask_time_prob": 0.4, "mask_time_length": 3}, False),
        ("lower layers", {"feat_proj_dropout": 0.3}, False),
        ("lower layers", {"hidden_dropout": 0.3}, True),
        ("lower layers", {"attention_dropout": 0.3}, True),
        ("pooled", NOISE, False),
    ):
        adapted, model = behind(encoder, case, RECIPES[name], **noise)
        model.train()
        batch = inputs(adapted)
        once, again = model.prefix.run(batch), model.prefix.run(batch)
        assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True)), (name, noise)
        assert model.training
        states = nn.utils.rnn.pad_sequence(once, batch_first=True)
        assert differs(model, states, batch["attention_mask"]) is noisy, (name, noise)


@pytest.mark.parametrize("case", ["hubert", "hubert, post norm", "wav2vec2", "wavlm"])
def test_layer_drop_leaves_out_upper_layers_alone(case, encoder):
    adapted, model = behind(encoder, case, recipe("full", trained_layers=2), layerdrop=0.5)
    batch = inputs(adapted)
    states = nn.utils.rnn.pad_sequence(model.prefix.run(batch), batch_first=True)
    model.train()
    torch.manual_seed(0)
    found = {
        tuple(np.round(model(states=states, attention_mask=batch["attention_mask"])["logits"][0].tolist(), 4))
        for _ in range(40)
    }
    # Both, either and neither of the two upper layers.
    assert len(found) == 4


def test_checkpointed_activations_do_not_change_the_gradients(encoder):
    for name in ("feature encoder, adapter", "lower layers"):
        adapted, model = behind(encoder, "hubert", RECIPES[name])
        model.train()
        batch = inputs(adapted)
        gradients = []
        for checkpointed in (False, True):
            if checkpointed:
                model.activation_checkpointing_enable({"use_reentrant": False})
            model(**batch)["logits"].square().sum().backward()
            gradients.append([weight.grad.clone() for weight in adapted.parameters() if weight.grad is not None])
            adapted.zero_grad()
        assert len(gradients[0]) == len(gradients[1]) > 0
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*gradients, strict=True))


def test_upper_layers_alone_train(encoder):
    for case, names in (("hubert", {"hubert.encoder.layer_norm"}), ("hubert, post norm", set())):
        adapted, _ = behind(encoder, case, recipe("full", trained_layers=2))
        trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
        layers = architecture_of(adapted.config).layers
        allowed = {f"{layers}.1", f"{layers}.2", "projector", "classifier", *names}
        assert {name for name in trained if not name.startswith(tuple(allowed))} == set()
        assert all(any(name.startswith(each) for name in trained) for each in allowed)
    adapted, _ = behind(encoder, "hubert", recipe("lora_qkv", trained_layers=2))
    lora = {name.split(".layers.")[1][0] for name, _ in adapted.named_parameters() if "lora_A" in name}
    assert lora == {"1", "2"}


def test_more_layers_than_there_are_and_none_are_refused(encoder):
    with pytest.raises(InputError, match="trained_layers is 3, and the encoder has 3 layers"):
        behind(encoder, "hubert", recipe("full", trained_layers=3))
    with pytest.raises(InputError, match="weighted layer sum"):
        behind(encoder, "hubert", recipe("full", trained_layers=1), use_weighted_layer_sum=True)
    with pytest.raises(InputError, match="LayerDrop in whisper"):
        behind(encoder, "whisper", recipe("full", trained_layers=1), encoder_layerdrop=0.1)
    for name, layers in (("full", 0), ("lora_classifier", 2)):
        with pytest.raises(InputError, match="trains no layer"):
            recipe(name, trained_layers=layers)
    with pytest.raises(InputError, match="layer_weights beside an adapter"):
        behind(encoder, "hubert", recipe("lora_qkv", trains=("layer_weights", "head")), use_weighted_layer_sum=True)


def test_the_fingerprint_knows_what_decides_and_nothing_else(encoder):
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor()

    def prints(name, change=None, extractor=extractor, **changes):
        adapted, model = behind(encoder, "hubert", RECIPES[name], **changes)
        if change:
            nn.init.normal_(dict(adapted.named_parameters())[change])
        return model.prefix.fingerprint(extractor)

    layer = "hubert.encoder.layers.{}.feed_forward.output_dense.weight"
    for name in ("feature encoder", "lower layers"):
        same = prints(name)
        assert prints(name, layer.format(2)) == same
        assert prints(name, hidden_dropout=0.3) == same
        assert prints(name, "hubert.feature_extractor.conv_layers.0.conv.weight") != same
        assert prints(name, extractor=Wav2Vec2FeatureExtractor(do_normalize=False)) != same
    assert prints("lower layers", layer.format(0)) != prints("lower layers")
    assert prints("feature encoder", layer.format(0)) == prints("feature encoder")
    assert prints("feature encoder") == prints("feature encoder, adapter")
