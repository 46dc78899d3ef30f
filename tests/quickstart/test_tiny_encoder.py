"""The tiny encoders open like published ones, and say that they are none."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser.audio.collate import Collator
from hf_ser.errors import InputError
from hf_ser.quickstart.encoder import TINY_ARCHITECTURES, write_tiny_encoder

MODEL_TYPES = {"hubert_group_norm": "hubert"}


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_it_opens_for_classification(tmp_path, architecture, caplog):
    folder = write_tiny_encoder(tmp_path / "tiny", architecture=architecture)
    assert (folder / "model.safetensors").is_file()
    model, report = AutoModelForAudioClassification.from_pretrained(folder, num_labels=8, output_loading_info=True)
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"projector", "classifier"}
    assert {key.split(".")[0] for key in report["unexpected_keys"]} <= {"decoder"}
    assert model.config.model_type == MODEL_TYPES.get(architecture, architecture)
    assert sum(parameter.numel() for parameter in model.parameters()) < 400_000
    rates = {name: value for name, value in model.config.to_dict().items() if "drop" in name}
    assert rates
    assert not any(rates.values())
    collate = Collator(AutoFeatureExtractor.from_pretrained(folder), model.config, training=True)
    clips = np.random.default_rng(0).standard_normal((2, 20_000)).astype(np.float32)
    batch = collate([{"samples": clip[: 20_000 - 9000 * row], "labels": row} for row, clip in enumerate(clips)])
    model.train()
    output = model(**batch)
    output.loss.backward()
    assert output.logits.shape == (2, 8)
    assert torch.isfinite(output.logits).all()
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, output.logits, rtol=0, atol=1e-6)


def test_shapes_of_the_large_and_the_base_model(tmp_path):
    large = json.loads((write_tiny_encoder(tmp_path / "large") / "config.json").read_text())
    base = json.loads(
        (write_tiny_encoder(tmp_path / "base", architecture="hubert_group_norm") / "config.json").read_text()
    )
    assert (large["feat_extract_norm"], large["do_stable_layer_norm"]) == ("layer", True)
    assert (base["feat_extract_norm"], base["do_stable_layer_norm"]) == ("group", False)
    preprocessor = json.loads((tmp_path / "large" / "preprocessor_config.json").read_text())
    assert preprocessor["do_normalize"]
    assert preprocessor["return_attention_mask"]


def test_the_seed_decides_the_weights_and_nothing_else_does(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = write_tiny_encoder(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again, other = write_tiny_encoder(tmp_path / "again"), write_tiny_encoder(tmp_path / "other", seed=1)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]


def test_it_says_what_it_is(tmp_path):
    assert "evidence of nothing" in (write_tiny_encoder(tmp_path / "tiny") / "README.md").read_text()


def test_bad_arguments(tmp_path):
    with pytest.raises(InputError, match="architecture 'whispr' is unknown; choose hubert, "):
        write_tiny_encoder(tmp_path / "tiny", architecture="whispr")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_tiny_encoder(tmp_path / "file")
