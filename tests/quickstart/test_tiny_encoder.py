"""The tiny encoders open like published ones."""

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

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


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="architecture 'whispr' is unknown; choose hubert, "):
        write_tiny_encoder(tmp_path / "tiny", architecture="whispr")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_tiny_encoder(tmp_path / "file")
