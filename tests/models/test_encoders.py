import json
import shutil

import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.architectures import ARCHITECTURES, PARTS, part_of
from hf_ser.models.checkpoint import open_model
from hf_ser.models.encoders import open_encoder

SUPERB = ["neu", "hap", "ang", "sad"]


def test_a_four_label_head_is_reused_by_name(encoder):
    """superb/hubert-large-superb-er has {0 neu, 1 hap, 2 ang, 3 sad}: neither our order nor our names."""
    from transformers import HubertForSequenceClassification

    folder = str(encoder(labels=SUPERB))
    old = HubertForSequenceClassification.from_pretrained(folder)
    model, head = open_encoder(folder)
    assert head == {"head": "reused", "kept_labels": ["angry", "happy", "neutral", "sad"]}
    for mine, theirs in (("angry", 2), ("happy", 1), ("neutral", 0), ("sad", 3)):
        row = EMOTIONS.index(mine)
        assert torch.equal(model.classifier.weight[row], old.classifier.weight[theirs])
        assert torch.equal(model.classifier.bias[row], old.classifier.bias[theirs])
    assert torch.equal(model.projector.weight, old.projector.weight)
    assert model.config.id2label == dict(enumerate(EMOTIONS))


def test_eight_labels_in_another_order_are_moved_not_trusted(encoder):
    from transformers import HubertForSequenceClassification

    shuffled = ["sad", "angry", "calm", "surprise", "fear", "neutral", "happy", "disgust"]
    folder = str(encoder(labels=shuffled))
    old = HubertForSequenceClassification.from_pretrained(folder)
    model, _ = open_encoder(folder)
    for row, label in enumerate(EMOTIONS):
        assert torch.equal(model.classifier.weight[row], old.classifier.weight[shuffled.index(label)])


def test_a_head_without_a_shared_label_is_not_reused(encoder):
    model, head = open_encoder(str(encoder(labels=["yes", "no", "up"])))
    assert head["kept_labels"] == []
    assert model.classifier.weight.shape[0] == 8


def test_a_new_head_is_the_same_for_the_same_seed_and_leaves_the_generator_alone(encoder):
    # Written first: the writer seeds the generator.
    encoder()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = open_encoder(str(encoder()), seed=5)[0]
    assert torch.equal(torch.rand(3), expected)
    second, other = open_encoder(str(encoder()), seed=5)[0], open_encoder(str(encoder()), seed=6)[0]
    assert torch.equal(first.projector.weight, second.projector.weight)
    assert not torch.equal(first.projector.weight, other.projector.weight)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_part_is_found_in_every_architecture(architecture, encoder):
    model, _ = open_encoder(str(encoder(architecture, use_weighted_layer_sum=True)))
    # transformers 5.23 leaves the weights of the sum as they lie in memory for wav2vec2 and WavLM.
    assert torch.equal(model.layer_weights, torch.full_like(model.layer_weights, 1 / len(model.layer_weights)))
    found = {part_of(name, ARCHITECTURES[architecture]) for name, _ in model.named_parameters()}
    assert found == set(PARTS)
    assert len(model.get_submodule(ARCHITECTURES[architecture].layers)) >= 2


def test_an_unsupported_architecture_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="'bert' is not supported"):
        open_encoder(str(tmp_path))


def test_a_folder_without_weights_is_one_line(encoder, tmp_path):
    (tmp_path / "config.json").write_text((encoder() / "config.json").read_text())
    with pytest.raises(InputError) as caught:
        open_encoder(str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(encoder, tmp_path):
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_text((encoder() / file).read_text())
    (tmp_path / "model.safetensors").write_bytes((encoder("whisper") / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="lack"):
        open_encoder(str(tmp_path))


def test_an_unknown_setting_is_named(encoder):
    with pytest.raises(InputError, match="hiden_dropout"):
        open_encoder(str(encoder()), settings={"hiden_dropout": 0.1})


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_the_weighted_layer_sum_trains_without_layerdrop(architecture, encoder, caplog):
    """transformers 5 drops layers without recording them, and the sum over layers then raises."""
    field = "encoder_layerdrop" if architecture == "whisper" else "layerdrop"
    model, _ = open_encoder(str(encoder(architecture, use_weighted_layer_sum=True, **{field: 0.5})))
    assert f"{field} is set to 0" in caplog.text
    inputs = torch.randn(2, 80, 3000) if architecture == "whisper" else torch.randn(2, 8000)
    model.train()(inputs, labels=torch.tensor([0, 1])).loss.backward()
    assert model.layer_weights.grad is not None
    assert getattr(open_encoder(str(encoder(architecture, **{field: 0.5})))[0].config, field) == 0.5


def test_a_head_from_noise_takes_nothing_over(encoder):
    """As transformers initialises it, though the checkpoint has a head for the very same labels."""
    model, head = open_encoder(str(encoder(labels=list(EMOTIONS))), reuse_head=False)
    assert head == {"head": "new", "kept_labels": []}
    for layer in (model.projector, model.classifier):
        assert 0.01 < float(layer.weight.std()) < 0.04
        assert not layer.bias.any()


def changed(folder, source, **values):
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
    return folder


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_labels": 10**9}, "num_labels in its config.json is 1000000000; at most 10000"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers in its config.json is 10000000; at most 256"),
        ({"conv_dim": [16] * 1000}, "conv_dim in its config.json is 1000; at most 256"),
        ({"hidden_size": 10**6}, "its config.json describes"),
        ({"num_conv_pos_embeddings": 10**9}, "its config.json describes"),
        ({"hidden_size": "wide"}, "cannot read its configuration"),
        ({"conv_dim": None}, "cannot read its configuration"),
        ({"hidden_act": "magic"}, "cannot read its configuration"),
        ({"attn_implementation": "kernels/attention"}, "attn_implementation 'kernels/attention'"),
        ({"_attn_implementation": "kernels/attention"}, "attn_implementation 'kernels/attention'"),
    ],
)
def test_a_configuration_out_of_bounds_is_one_line_before_memory_is_taken(values, words, encoder, tmp_path):
    with pytest.raises(InputError) as caught:
        open_encoder(changed(tmp_path / "m", encoder(), **values))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [["sad", "sad"], ["sad", None], ["sad", ""], ["sad", 3]])
def test_labels_alike_or_without_a_name_are_refused(labels, encoder, tmp_path):
    folder = changed(tmp_path / "m", encoder(labels=["sad", "angry"]), id2label=dict(enumerate(labels)))
    with pytest.raises(InputError, match=r"id2label in its config\.json has .* twice or as no name"):
        open_model(folder)


@pytest.mark.parametrize(
    ("value", "words"),
    [(float("nan"), "holds NaN or infinite values"), (float("inf"), "holds NaN or"), (0.0, "all its weights are zero")],
)
def test_weights_that_give_no_score_are_refused(value, words, encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = changed(tmp_path / "m", encoder(labels=["sad", "angry"]))
    weights = load_file(str(folder / "model.safetensors"))
    for name, weight in weights.items():
        weights[name] = torch.full_like(weight, value) if value == 0 or name == "classifier.bias" else weight
    save_file(weights, str(folder / "model.safetensors"), {"format": "pt"})
    with pytest.raises(InputError, match=words):
        open_model(folder)
