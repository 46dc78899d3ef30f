import dataclasses
import json

import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.models.adapting import adapt, drops_layers, freeze_unused, learning_rate_groups, prove_adapter_alive
from hf_ser.models.architectures import architecture_of, part_of
from hf_ser.models.encoders import open_encoder
from hf_ser.models.head import head_logits, start_head
from hf_ser.models.recipes import PAPER_RECIPES, RECIPES, Recipe, paper_recipe, recipe, register_recipe


def batch(model, count=3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 3, 5][:count])
    if model.config.model_type == "whisper":
        return {"input_features": torch.randn(count, 80, 3000, generator=generator), "labels": labels}
    values = torch.randn(count, 8000, generator=generator)
    return {"input_values": values, "attention_mask": torch.ones(count, 8000, dtype=torch.long), "labels": labels}


def opened(encoder, architecture="hubert", **changes):
    return open_encoder(str(encoder(architecture, **changes)))[0]


def test_full_trains_everything_and_freezing_the_feature_encoder_is_an_option(encoder):
    model = adapt(opened(encoder), RECIPES["full"])
    assert all(parameter.requires_grad for parameter in model.parameters())
    frozen = adapt(opened(encoder), recipe("full", freeze_feature_encoder=True))
    architecture = architecture_of(frozen.config)
    for name, parameter in frozen.named_parameters():
        assert parameter.requires_grad == (part_of(name, architecture) != "feature_encoder"), name


@pytest.mark.parametrize(("name", "expected"), [("lora_qkv", 24 * 32 + 24 + 8 * 24 + 8), ("lora_classifier", 0)])
def test_lora_trains_its_adapter_and_what_the_recipe_says_of_the_head(name, expected, encoder):
    model = adapt(opened(encoder), RECIPES[name])
    adapter = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n and p.requires_grad)
    assert model.num_parameters(only_trainable=True) == adapter + expected
    if name == "lora_qkv":
        assert adapter == 3 * 3 * 16 * (32 + 32)
        assert all(("lora_" in n or ".modules_to_save." in n) for n, p in model.named_parameters() if p.requires_grad)
    else:
        assert adapter == 16 * (32 + 24) + 16 * (24 + 8)


@pytest.mark.parametrize("architecture", ["hubert", "wav2vec2", "whisper"])
@pytest.mark.parametrize("name", ["lora_qkv", "lora_classifier"])
def test_every_adapter_is_proved_alive(architecture, name, encoder):
    model = adapt(opened(encoder, architecture), RECIPES[name])
    count = prove_adapter_alive(model, batch(model), RECIPES[name])
    layers = len(model.get_base_model().get_submodule(architecture_of(model.config).layers))
    assert count == (3 * layers if name == "lora_qkv" else 2)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_lora_on_the_attention_of_wavlm_is_refused_by_name(encoder):
    with pytest.raises(InputError, match=r"lora_qkv.*wavlm.*q_proj"):
        adapt(opened(encoder, "wavlm"), RECIPES["lora_qkv"])
    model = adapt(opened(encoder, "wavlm"), RECIPES["lora_classifier"])
    assert prove_adapter_alive(model, batch(model), RECIPES["lora_classifier"]) == 2


def test_a_dead_adapter_is_found_by_its_gradient_not_by_a_list(encoder):
    """The refusal by name must not be the only guard: put LoRA on WavLM's attention past it."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(target_modules=["q_proj", "k_proj", "v_proj"], modules_to_save=["projector", "classifier"])
    model = get_peft_model(opened(encoder, "wavlm"), settings)
    with pytest.raises(InputError, match=r"9 adapters get no gradient.*lora_B"):
        prove_adapter_alive(model, batch(model), RECIPES["lora_qkv"])


def test_each_part_gets_its_learning_rate_once(encoder):
    model = adapt(opened(encoder, use_weighted_layer_sum=True), RECIPES["full"])
    decayed = {name for name, _ in model.named_parameters() if name.endswith("weight")}
    chosen = recipe("full", learning_rate_scale={"encoder": 0.1, "feature_encoder": 0.01})
    groups = learning_rate_groups(model, chosen, model.config, 1e-3, 0.05, decayed)
    owned = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(owned) == len(list(model.parameters()))
    expected = {"encoder": 1e-4, "feature_encoder": 1e-5, "feature_projection": 2e-5}
    for name, parameter in model.named_parameters():
        group = owned[id(parameter)]
        assert group["lr"] == pytest.approx(expected.get(part_of(name, architecture_of(model.config)), 1e-3))
        assert group["weight_decay"] == (0.05 if name in decayed else 0.0)


def test_lora_on_the_head_can_reach_any_linear_head(encoder):
    """The base head is frozen noise; rank 16 on both layers must not limit what eight labels need."""
    torch.manual_seed(0)
    base = opened(encoder)
    features = torch.randn(400, 32, generator=torch.Generator().manual_seed(4))
    references = (features[:, 8:16] + 0.1 * features[:, :8]).argmax(dim=1)
    target = opened(encoder)
    start_head(target, dict.fromkeys(("train", "validation"), (features, references.numpy())))
    model = adapt(base, RECIPES["lora_classifier"])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head_logits(model, features), references).backward()
        optimizer.step()
    with torch.no_grad():
        reached = (head_logits(model, features).argmax(1) == references).float().mean()
        possible = (head_logits(target, features).argmax(1) == references).float().mean()
    assert reached >= possible - 0.01


def test_a_recipe_from_json_is_the_recipe():
    values = json.loads(json.dumps(RECIPES["lora_classifier"].as_dict()))
    assert Recipe(**values) == RECIPES["lora_classifier"]
    listed = recipe("lora_classifier", lora={"target_modules": ["projector", "classifier"], "r": 8})
    assert listed.encoder_is_frozen
    assert dict(listed.lora) == {**RECIPES["lora_classifier"].lora, "r": 8}
    assert recipe("full", trains=["layer_weights", "head"]).encoder_is_frozen
    assert not recipe("lora_qkv", lora={"target_modules": ["projector", "q_proj"]}).encoder_is_frozen
    assert recipe("full", learning_rate_scale={"encoder": 1.0}).learning_rate_scale["feature_encoder"] == 0.02


def test_one_target_alone_of_the_head_keeps_the_encoder_frozen(encoder):
    chosen = recipe("lora_classifier", lora={"target_modules": ["classifier"]})
    assert chosen.encoder_is_frozen
    model = adapt(opened(encoder), chosen)
    assert prove_adapter_alive(model, batch(model), chosen) == 1


@pytest.mark.parametrize("name", PAPER_RECIPES)
def test_the_paper_recipe_is_the_whole_configuration_of_the_paper(name):
    paper, ours = paper_recipe(name), RECIPES[name]
    kept = ("name", "summary", "trains", "lora", "batch_size", "segment_seconds", "freeze_feature_encoder",
            "trained_layers", "encoder_settings", "peft_type", "stages")  # fmt: skip
    changed = {
        "learning_rate": 1e-5,
        "learning_rate_scale": {},
        "epochs": 50,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "patience": None,
        "normalize_features": False,
        "head_start": "noise",
        "head_dropout": 0.0,
        "balance_labels": False,
        "layers": "last",
        "layer_decay": 1.0,
        "label_scheme": "intended",
        "label_smoothing": 0.0,
        "logit_adjustment": 0.0,
        "mixup": 0.0,
        "pooling": "mean",
        "trim_silence_db": None,
        "level_db": None,
    }
    expected = {**{field: getattr(ours, field) for field in kept}, **changed}
    assert {field.name: getattr(paper, field.name) for field in dataclasses.fields(paper)} == expected


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"head_droput": 0.1}, "has no field 'head_droput'"),
        ({"head_dropout": 1.5}, "outside"),
        ({"head_start": "luck"}, "choose logistic_regression, checkpoint, noise"),
        ({"lora": {"rank": 8}}, "lora has no field 'rank'"),
        ({"lora": {"target_modules": "all-linear"}}, "must be a list of module names"),
        ({"lora": ["r", 8]}, "lora must be a mapping"),
        ({"segment_seconds": 0}, "segment_seconds is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"trains": ["ears"]}, "names the part 'ears'"),
        ({"trained_layers": 0}, "trains no layer"),
    ],
)
def test_what_a_recipe_does_not_know_is_one_line(overrides, words):
    with pytest.raises(InputError, match=words):
        recipe("lora_qkv", **overrides)


def test_a_recipe_from_outside_is_named_like_the_others():
    new = dataclasses.replace(RECIPES["full"], name="full_slow", learning_rate=1e-6)
    register_recipe(new)
    try:
        register_recipe(new)
        assert recipe("full_slow", epochs=3).learning_rate == 1e-6
        with pytest.raises(InputError, match="there is another recipe 'full_slow'"):
            register_recipe(dataclasses.replace(new, epochs=1))
    finally:
        del RECIPES["full_slow"]


def test_only_the_upper_layers_train(encoder):
    for changes, names in (({}, {"hubert.encoder.layer_norm"}), ({"do_stable_layer_norm": False}, set())):
        model = adapt(opened(encoder, **changes), recipe("full", trained_layers=2))
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        allowed = {"hubert.encoder.layers.1", "hubert.encoder.layers.2", "projector", "classifier", *names}
        assert not [name for name in trained if not name.startswith(tuple(allowed))]
        assert all(any(name.startswith(each) for name in trained) for each in allowed)
    model = adapt(opened(encoder), recipe("lora_qkv", trained_layers=2))
    assert {name.split(".layers.")[1][0] for name, _ in model.named_parameters() if "lora_A" in name} == {"1", "2"}


@pytest.mark.parametrize("architecture", ["hubert", "wav2vec2"])
def test_frozen_convolutions_are_left_out_of_the_backward_pass(architecture, encoder):
    for chosen in (recipe("lora_qkv"), recipe("full", freeze_feature_encoder=True), recipe("full", trained_layers=1)):
        model = adapt(opened(encoder, architecture), chosen).train()
        base = getattr(model.get_base_model() if chosen.lora else model, architecture)
        assert not base.feature_extractor(torch.randn(1, 4000)).requires_grad


def test_layers_that_cannot_train_alone_are_refused(encoder):
    with pytest.raises(InputError, match="trained_layers is 3, and the encoder has 3 layers"):
        adapt(opened(encoder), recipe("full", trained_layers=3))
    chosen = recipe("lora_qkv", trains=("layer_weights", "head"))
    with pytest.raises(InputError, match="layer_weights beside an adapter"):
        adapt(opened(encoder, use_weighted_layer_sum=True), chosen)


def test_layer_drop_and_unused_weights_are_known_before_processes_wait_for_them(encoder):
    model = opened(encoder, layerdrop=0.1)
    assert drops_layers(adapt(model, RECIPES["full"]))
    assert not drops_layers(adapt(opened(encoder), RECIPES["full"]))
    assert not drops_layers(adapt(opened(encoder, layerdrop=0.1), RECIPES["lora_classifier"]))
    assert freeze_unused(model) == ["hubert.masked_spec_embed"]
    weighted = adapt(opened(encoder, use_weighted_layer_sum=True), RECIPES["full"])
    frozen = freeze_unused(weighted)
    weighted(**batch(weighted)).loss.backward()
    without = {name for name, weight in weighted.named_parameters() if weight.grad is None}
    assert set(frozen) == without
