import json

import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.encoders import ARCHITECTURES, PARTS, open_encoder, part_of

SUPERB = ["neu", "hap", "ang", "sad"]


def test_a_four_label_head_is_taken_over_by_name(encoder):
    """superb/hubert-large-superb-er has {0 neu, 1 hap, 2 ang, 3 sad}: neither our order nor our names."""
    from transformers import HubertForSequenceClassification

    folder = str(encoder(labels=SUPERB))
    old = HubertForSequenceClassification.from_pretrained(folder)
    model, head = open_encoder(folder)
    assert head == {"head": "taken over", "kept_labels": ["angry", "happy", "neutral", "sad"]}
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


def test_a_head_without_a_shared_label_is_not_taken_over(encoder):
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


@pytest.mark.parametrize("architecture", ["hubert", "wav2vec2", "wavlm"])
def test_the_weighted_layer_sum_trains_with_layerdrop(architecture, encoder):
    """transformers 5 drops layers without recording them, and the sum over layers then raises."""
    model, _ = open_encoder(str(encoder(architecture, use_weighted_layer_sum=True, layerdrop=0.5)))
    inputs = torch.randn(2, 8000)
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        assert torch.equal(model.eval()(inputs).logits, model(inputs).logits)
    model.train()
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        loss = model(inputs, labels=labels).loss
        loss.backward()
        seen.add(round(float(loss), 6))
    assert len(seen) > 1, "LayerDrop never dropped a layer"
    assert model.layer_weights.grad is not None
    assert model.config.layerdrop == 0.5, "the saved configuration must keep the checkpoint's rate"


def test_evaluation_is_the_same_with_and_without_recorded_layerdrop(encoder):
    folder = str(encoder(use_weighted_layer_sum=True, layerdrop=0.5))
    plain, recorded = open_encoder(folder)[0], open_encoder(folder)[0]
    inputs = torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.equal(plain.eval()(inputs).logits, recorded.eval()(inputs).logits)
