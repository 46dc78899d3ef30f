"""The tiny encoders open like published ones."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser.errors import InputError
from hf_ser.quickstart.encoder import TINY_ARCHITECTURES, write_tiny_encoder


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_it_opens_for_classification_and_trains(tmp_path, architecture):
    folder = write_tiny_encoder(tmp_path / "tiny", architecture=architecture)
    model, report = AutoModelForAudioClassification.from_pretrained(folder, num_labels=8, output_loading_info=True)
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"projector", "classifier"}
    assert {key.split(".")[0] for key in report["unexpected_keys"]} <= {"decoder"}
    assert model.config.model_type == architecture.removesuffix("_group_norm")
    assert sum(parameter.numel() for parameter in model.parameters()) < 400_000
    rates = {name: value for name, value in model.config.to_dict().items() if "drop" in name}
    assert rates
    assert not any(rates.values())
    noise = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    preprocessor = AutoFeatureExtractor.from_pretrained(folder)
    batch = preprocessor([noise, noise[::-1]], sampling_rate=16_000, return_tensors="pt")
    model.train()
    output = model(**batch, labels=torch.tensor([0, 1]))
    output.loss.backward()
    assert output.logits.shape == (2, 8)
    assert torch.isfinite(output.logits).all()
    assert model.classifier.weight.grad.abs().sum() > 0


def test_large_and_base_models_have_the_norms_of_the_real_ones(tmp_path):
    large, base = (
        AutoConfig.from_pretrained(write_tiny_encoder(tmp_path / name, architecture=name))
        for name in ("hubert", "hubert_group_norm")
    )
    assert (large.feat_extract_norm, large.do_stable_layer_norm) == ("layer", True)
    assert (base.feat_extract_norm, base.do_stable_layer_norm) == ("group", False)
    preprocessor = AutoFeatureExtractor.from_pretrained(tmp_path / "hubert")
    assert preprocessor.do_normalize
    assert preprocessor.return_attention_mask
    assert "only shows that the pipeline runs" in " ".join((tmp_path / "hubert/README.md").read_text().split())


def test_only_the_seed_changes_the_weights(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = write_tiny_encoder(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again, other = write_tiny_encoder(tmp_path / "again"), write_tiny_encoder(tmp_path / "other", seed=1)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="architecture 'whispr' is unknown; choose hubert, "):
        write_tiny_encoder(tmp_path / "tiny", architecture="whispr")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_tiny_encoder(tmp_path / "file")
