"""What reaches the encoder: each clip normalised on its own, masked, never too short."""

import warnings

import numpy as np
import pytest
import torch
from transformers import (
    ASTConfig,
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from hf_ser.audio.collate import Collator, minimum_samples
from hf_ser.errors import InputError

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
    "classifier_proj_size": 8,
    "num_labels": 8,
    "mask_time_prob": 0.5,
}


def noise(samples, seed=0, level=0.1, offset=0.0):
    return (offset + level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def items(*clips):
    return [{"samples": clip, "labels": label} for label, clip in enumerate(clips)]


def hubert(**settings):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HubertForSequenceClassification(HubertConfig(**{**TINY, **settings}))


@pytest.mark.parametrize("config", [HubertConfig, Wav2Vec2Config, WavLMConfig])
def test_minimum_is_the_receptive_field(config):
    assert minimum_samples(config(), training=False) == 400
    assert minimum_samples(config(), training=True) == 3600
    assert minimum_samples(config(apply_spec_augment=False), training=True) == 400
    assert minimum_samples(config(mask_time_prob=0.0), training=True) == 400
    assert minimum_samples(config(mask_time_length=4), training=True) == 400 + 4 * 320


def test_other_architectures():
    assert minimum_samples(WhisperConfig(), training=True) == 1
    with pytest.raises(InputError, match="'audio-spectrogram-transformer' takes no waveform"):
        minimum_samples(ASTConfig(), training=False)


@pytest.mark.parametrize("own_setting", [True, False])
def test_each_clip_is_normalised_over_its_own_samples(own_setting):
    collate = Collator(Wav2Vec2FeatureExtractor(return_attention_mask=own_setting), HubertConfig(), training=False)
    batch = collate(items(noise(16_000, 0, 0.01, offset=0.3), noise(64_000, 1, 0.2)))
    assert batch["attention_mask"].sum(dim=1).tolist() == [16_000, 64_000]
    for row, length in enumerate((16_000, 64_000)):
        clip = batch["input_values"][row, :length]
        assert clip.std(correction=0).item() == pytest.approx(1.0, abs=1e-3)
        assert clip.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert not batch["input_values"][0, 16_000:].any()


def test_a_clip_does_not_depend_on_its_batch():
    collate = Collator(Wav2Vec2FeatureExtractor(), HubertConfig(), training=True)
    short, long = noise(5000, 0), noise(9000, 1)
    together, alone = collate(items(short, long)), collate(items(short))
    torch.testing.assert_close(together["input_values"][0, :5000], alone["input_values"][0], rtol=0, atol=0)
    model = hubert().eval()
    with torch.no_grad():
        logits = [
            model(batch["input_values"], attention_mask=batch["attention_mask"]).logits[0]
            for batch in (together, alone)
        ]
    torch.testing.assert_close(*logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("samples", [1, 100, 399, 400, 3000])
def test_a_short_clip_goes_through_the_model(training, samples):
    model = hubert().train(training)
    batch = Collator(Wav2Vec2FeatureExtractor(), model.config, training)(items(noise(samples)))
    assert batch["attention_mask"].all()
    output = model(**batch)
    assert torch.isfinite(output.logits).all()
    if training:
        output.loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_the_batch_is_what_the_model_takes():
    collate = Collator(Wav2Vec2FeatureExtractor(), HubertConfig(), training=True)
    batch = collate([{"samples": noise(4000), "labels": 3, "clip_id": "a", "sampling_rate": 16_000}])
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_values": torch.float32,
        "attention_mask": torch.int32,
        "labels": torch.int64,
    }
    assert "labels" not in collate([{"samples": noise(4000)}])


def test_bad_clips_are_named():
    collate = Collator(Wav2Vec2FeatureExtractor(), HubertConfig(), training=False)
    with pytest.raises(InputError, match="clip 0 of the batch: samples must be"):
        collate([{"samples": noise(0)}])
    with pytest.raises(InputError, match="WhisperFeatureExtractor does not fit architecture 'hubert'"):
        Collator(WhisperFeatureExtractor(chunk_length=1), HubertConfig(), training=False)


def test_whisper_refuses_what_it_would_cut_off():
    collate = Collator(WhisperFeatureExtractor(chunk_length=1), WhisperConfig(), training=False)
    with pytest.raises(InputError, match="a clip of 16001 samples is longer than the 16000"):
        collate(items(noise(16_001)))
