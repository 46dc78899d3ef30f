"""The table of layers, against real models and for every architecture."""

import copy
import json

import pytest
from transformers import AutoModelForAudioClassification, HubertConfig, Wav2Vec2Config, WavLMConfig, WhisperConfig

from hf_ser.errors import InputError
from hf_ser.models.adapting import adapt
from hf_ser.models.recipes import RECIPES, recipe
from hf_ser.models.summary import summarize, summarize_recipes

# What the architecture really has, counted independently of this library.
REAL = {
    "feature encoder": 4_210_176,
    "convolution 0": 6_656,
    "convolutions 1-4": 3_151_872,
    "convolutions 5-6": 1_051_648,
    "feature projection": 526_336,
    "encoder": 310_701_184,
    "encoder layers 0-23 (each)": 12_596_224,
    "positional convolution": 8_389_760,
    "mask embedding": 1_024,
    "projector": 262_400,
    "classifier": 2_056,
}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 24, 24, 32, 32, 32),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}
SMALL_WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
}
CONFIGURATIONS = {
    "hubert": HubertConfig(**SMALL, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True),
    "hubert_weighted": HubertConfig(**SMALL, use_weighted_layer_sum=True),
    "wav2vec2": Wav2Vec2Config(**SMALL),
    "wavlm": WavLMConfig(**SMALL),
    "whisper": WhisperConfig(**SMALL_WHISPER),
}


def hubert_large(**changes):
    return HubertConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
        **changes,
    )


@pytest.fixture(scope="module")
def large():
    return summarize(hubert_large())


def test_hubert_large_has_the_real_parameters(large):
    found = {layer.name: layer.parameters for layer in large.layers}
    assert {name: found[name] for name in REAL} == REAL


def test_hubert_large_adds_up_with_and_without_layer_weights(large):
    assert large.parameters == 315_703_176
    weighted = summarize(hubert_large(use_weighted_layer_sum=True))
    assert weighted.parameters == 315_703_201
    assert {layer.name: layer.parameters for layer in weighted.layers}["layer weights"] == 25


def test_hubert_large_recipes_train_the_known_numbers():
    summary = summarize_recipes(hubert_large())
    assert summary.trainable == {
        "full": 315_703_176, "lora_qkv": 2_623_752, "lora_classifier": 24_704, "head": 264_456, "layers": 264_456,
        "last_layers": 38_055_201, "lora_all": 7_342_344,
    }  # fmt: skip
    text = summary.render()
    assert "2,623,752" in text
    assert "0.831 %" in text


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_rows_add_up_to_the_total_and_to_their_part(name):
    summary = summarize(CONFIGURATIONS[name], labels=5)
    parts = [layer for layer in summary.layers if layer.depth == 0]
    assert sum(layer.parameters for layer in parts) == summary.parameters
    assert all(layer.repeats == 1 for layer in parts)
    totals = {}
    part = None
    for layer in summary.layers:
        if layer.depth == 0:
            part = layer
        else:
            totals[part.name] = totals.get(part.name, 0) + layer.parameters * layer.repeats
    assert totals == {layer.name: layer.parameters for layer in parts if layer.name in totals}
    assert {"encoder"} <= set(totals)
    assert parts[-1].output_shape == (1, 5)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_the_recipes_train_what_they_train_in_a_real_model(name):
    summary = summarize_recipes(CONFIGURATIONS[name], labels=2)
    for chosen in RECIPES.values():
        if chosen.name in summary.refused:
            continue
        config = copy.deepcopy(CONFIGURATIONS[name])
        for field, value in chosen.settings.items():
            setattr(config, field, value)
        model = adapt(AutoModelForAudioClassification.from_config(config), chosen)
        assert summary.trainable[chosen.name] == model.num_parameters(only_trainable=True)
    # These have no more than three layers.
    assert set(summary.refused) == {"last_layers", *(["lora_qkv"] if name == "wavlm" else [])}


def test_wavlm_says_which_recipe_does_not_fit_and_why():
    summary = summarize_recipes(CONFIGURATIONS["wavlm"])
    assert "'lora_qkv' trains nothing in wavlm" in summary.render()
    with pytest.raises(InputError, match="'lora_qkv' trains nothing in wavlm"):
        summarize_recipes(CONFIGURATIONS["wavlm"], recipe="lora_qkv")


def test_a_folder_a_configuration_and_a_model_give_the_same_table(tmp_path):
    config = CONFIGURATIONS["hubert"]
    model = AutoModelForAudioClassification.from_config(config)
    model.save_pretrained(tmp_path / "encoder")
    expected = summarize(config)
    assert summarize(tmp_path / "encoder") == expected
    assert summarize(str(tmp_path / "encoder")) == expected
    assert summarize(model, labels=8) == expected
    # A model that has its own labels keeps them; its configuration and weights stay as they are.
    assert summarize(model).labels == model.config.num_labels == 2
    assert model.classifier.weight.device.type == "cpu"


def test_the_summary_survives_json_and_renders_every_row(large):
    assert json.loads(json.dumps(large.as_dict())) == large.as_dict()
    assert large.as_dict()["layers"][0]["output_shape"] == [1, 512, 49]
    lines = large.render().splitlines()
    assert len(lines) == len(large.layers) + 2
    assert lines[-1].split() == ["total", "HubertForSequenceClassification", "315,703,176"]
    assert len({len(line) for line in lines}) == 1


def test_wrong_input_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="input_samples is 100, less than one frame"):
        summarize(CONFIGURATIONS["hubert"], input_samples=100)
    with pytest.raises(InputError, match="labels is 0"):
        summarize(CONFIGURATIONS["hubert"], labels=0)
    with pytest.raises(InputError, match=r"a wav2vec2 classifier cannot be built .*adapters"):
        summarize(Wav2Vec2Config(**SMALL, add_adapter=True))
    with pytest.raises(InputError, match="recipe 'full' sets 'layer_drop', which hubert does not have"):
        summarize_recipes(CONFIGURATIONS["hubert"], recipe=recipe("full", encoder_settings={"layer_drop": 0.1}))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="architecture 'bert' is not supported"):
        summarize(tmp_path)
