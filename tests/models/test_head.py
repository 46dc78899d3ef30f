import numpy as np
import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.adapting import adapt
from hf_ser.models.checkpoint import save_model
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.head import REGULARISATIONS, FeatureStatistics, attach, head_logits, plain_head, start_head
from hf_ser.models.recipes import PAPER_RECIPES, RECIPES


def clips(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = [9000, 12000, 16000, 16000][:count]
    values, mask = torch.zeros(count, 16000), torch.zeros(count, 16000, dtype=torch.long)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randn(length, generator=generator)
        mask[row, :length] = 1
    return {"input_values": values, "attention_mask": mask}


def statistics(hidden=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return FeatureStatistics(
        7 * torch.randn(hidden, generator=generator), 0.01 + torch.rand(hidden, generator=generator)
    )


def fill_lora(model):
    """Give every lora_B values, as training would."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", list(PAPER_RECIPES))
def test_the_plain_head_gives_the_logits_of_the_trained_one_and_leaves_it_alone(name, encoder):
    model = fill_lora(adapt(open_encoder(str(encoder()))[0], RECIPES[name])).eval()
    attach(model, statistics())
    features = 7 * torch.randn(9, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = head_logits(model, features)
        head = plain_head(model)
        after = head["classifier"](head["projector"](features))
        assert {type(layer) for layer in head.values()} == {torch.nn.Linear}
        assert torch.equal(head_logits(model, features), before)
    assert (before - after).abs().max() < 1e-5 * max(1.0, float(before.abs().max()))


def test_a_full_checkpoint_is_plain_transformers(encoder, tmp_path):
    from transformers import AutoModelForAudioClassification

    folder = str(encoder())
    model = adapt(open_encoder(folder)[0], RECIPES["full"]).eval()
    attach(model, statistics())
    save_model(model, tmp_path, open_feature_extractor(folder))
    plain = AutoModelForAudioClassification.from_pretrained(str(tmp_path))
    assert type(plain).__name__ == "HubertForSequenceClassification"
    assert tuple(plain.config.id2label.values()) == EMOTIONS
    with torch.no_grad():
        assert (plain.eval()(**clips()).logits - model(**clips()).logits).abs().max() < 1e-5


def test_unfolding_keeps_the_function_of_a_head_that_is_reused(encoder):
    model = open_encoder(str(encoder()))[0]
    with torch.no_grad():
        before = model(**clips()).logits
        statistics().unfold(model.projector)
        assert (model(**clips()).logits - before).abs().max() > 1e-3
        attach(model, statistics())
        assert (model(**clips()).logits - before).abs().max() < 1e-4


def test_attaching_twice_is_an_error(encoder):
    model = open_encoder(str(encoder()))[0]
    attach(model, statistics())
    with pytest.raises(RuntimeError, match="already"):
        attach(model, statistics())


def test_head_dropout_is_on_in_training_alone(encoder):
    model = open_encoder(str(encoder()))[0]
    attach(model, None, dropout=0.5)
    features = torch.randn(6, 32)
    assert torch.equal(head_logits(model.eval(), features), head_logits(model, features))
    model.train()
    assert not torch.equal(head_logits(model, features), head_logits(model, features))


def test_logistic_regression_is_written_into_the_head_exactly(encoder):
    from sklearn.linear_model import LogisticRegression

    model = open_encoder(str(encoder()))[0]
    generator = np.random.default_rng(0)
    features = torch.from_numpy(generator.normal(size=(300, 32)).astype(np.float32))
    references = (features[:, :8] + 0.5 * torch.from_numpy(generator.normal(size=(300, 8)))).argmax(dim=1).numpy()
    parts = {"train": (features[:200], references[:200]), "validation": (features[200:], references[200:])}
    record = start_head(model, parts)
    features, references = parts["train"]
    expected = LogisticRegression(max_iter=500, warm_start=True)
    for strength in REGULARISATIONS[: REGULARISATIONS.index(record["inverse_regularisation"]) + 1]:
        expected.set_params(C=strength).fit(features.double().numpy(), references)
    with torch.no_grad():
        scores = head_logits(model, features).double().softmax(-1).numpy()
    assert record["start"] == "logistic regression"
    assert np.abs(scores - expected.predict_proba(features.double().numpy())).max() < 1e-4


@pytest.mark.parametrize("present", [(2, 5), (0, 3, 7)])
def test_labels_that_do_not_occur_are_not_predicted(present, encoder):
    model = open_encoder(str(encoder()))[0]
    features = torch.randn(120, 32, generator=torch.Generator().manual_seed(0))
    references = np.array(present)[(features[:, : len(present)]).argmax(dim=1).numpy()]
    start_head(model, dict.fromkeys(("train", "validation"), (features, references)))
    with torch.no_grad():
        guesses = head_logits(model, features).argmax(dim=1).numpy()
    assert set(guesses) == set(present)
    assert (guesses == references).mean() > 0.9


def test_one_label_alone_is_refused(encoder):
    with pytest.raises(InputError, match="single label"):
        start_head(
            open_encoder(str(encoder()))[0], dict.fromkeys(("train", "validation"), (torch.randn(5, 32), [1] * 5))
        )


def test_a_channel_that_never_varies_is_not_blown_up():
    features = torch.cat([torch.randn(50, 1), torch.full((50, 1), 7.3)], dim=1)
    found = FeatureStatistics.of(features)
    assert found.std[1] > 0.05
    assert found(features).abs().max() < 10
