"""Write a tiny, untrained encoder, for trying the library offline; it knows nothing of speech."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError

__all__ = ["TINY_ARCHITECTURES", "write_tiny_encoder"]

TINY_ARCHITECTURES: tuple[str, ...] = ("hubert", "hubert_group_norm", "wav2vec2", "wavlm", "whisper")
"""What `write_tiny_encoder` can write: `hubert` is shaped as HuBERT-large, `hubert_group_norm` as HuBERT-base."""

_README = """\
---
library_name: transformers
---
# A tiny, untrained encoder

Shaped as `{architecture}`, written by `hf_ser.quickstart.encoder` with seed {seed}. It was never trained: what a model
built on it scores shows that the software runs, and is evidence of nothing else.
"""

_HIDDEN_SIZE = 64
_CONV_CHANNELS = 64
_TRANSFORMER: dict[str, Any] = {
    "hidden_size": _HIDDEN_SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 4 * _HIDDEN_SIZE,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
    "layerdrop": 0.0,
    "apply_spec_augment": False,
    "classifier_proj_size": 32,
}
# As with the real encoders, the first frame takes 400 samples and each more 320; but four convolutions do it
# instead of seven, which is eight times faster, and the first is long enough to tell frequencies apart.
_WAVEFORM: dict[str, Any] = {
    **_TRANSFORMER,
    "conv_dim": (_CONV_CHANNELS,) * 4,
    "conv_kernel": (120, 2, 2, 2),
    "conv_stride": (40, 2, 2, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE: dict[str, Any] = {**_WAVEFORM, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
_WHISPER_SECONDS = 2
_WHISPER: dict[str, Any] = {
    "d_model": _HIDDEN_SIZE,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 4 * _HIDDEN_SIZE,
    "decoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 4 * _HIDDEN_SIZE,
    "vocab_size": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "max_source_positions": 50 * _WHISPER_SECONDS,
    "max_target_positions": 8,
    "dropout": 0.0,
    "classifier_proj_size": 32,
}


def write_tiny_encoder(folder: str | os.PathLike[str], seed: int = 0, architecture: str = "hubert") -> Path:
    """Write a tiny encoder and its preprocessor, as a checkpoint without a head.

    `AutoModelForAudioClassification.from_pretrained(folder, num_labels=8)` newly initialises a head on it. All
    dropouts and SpecAugment are off in its configuration. The Whisper takes 2 s instead of 30 s.

    Args:
        folder: Where to write; made if missing, files of the same names are replaced.
        seed: Seed of the weights; torch's own generator is left as it was.
        architecture: One of `TINY_ARCHITECTURES`.

    Returns:
        The folder.

    Raises:
        InputError: The architecture is unknown, or `folder` is a file.

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = write_tiny_encoder(f"{parent}/tiny")
        ...     json.loads((folder / "config.json").read_text())["architectures"]
        ['HubertModel']
    """
    import torch
    from transformers.utils import logging

    if architecture not in TINY_ARCHITECTURES:
        raise InputError(f"architecture '{architecture}' is unknown; choose {', '.join(TINY_ARCHITECTURES)}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write the tiny encoder to")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, feature_extractor = _build(architecture)
        if architecture != "whisper":
            _set_spectral_start(model.feature_extractor)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()
    feature_extractor.save_pretrained(folder)
    readme = _README.format(architecture=model.config.model_type, seed=seed)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return folder


def _build(architecture: str) -> tuple[Any, Any]:
    """Return a newly initialised model without a head, and its feature extractor."""
    import transformers

    if architecture == "whisper":
        # With its decoder, as published checkpoints are; the classification model leaves it out.
        model = transformers.WhisperModel(transformers.WhisperConfig(**_WHISPER))
        return model, transformers.WhisperFeatureExtractor(chunk_length=_WHISPER_SECONDS)
    feature_extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    if architecture == "hubert":
        return transformers.HubertModel(transformers.HubertConfig(**_LARGE)), feature_extractor
    if architecture == "hubert_group_norm":
        return transformers.HubertModel(transformers.HubertConfig(**_WAVEFORM)), feature_extractor
    if architecture == "wav2vec2":
        return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**_LARGE)), feature_extractor
    return transformers.WavLMModel(transformers.WavLMConfig(**_LARGE)), feature_extractor


def _set_spectral_start(feature_encoder: Any) -> None:
    """Start the first convolution as Gabor filters of random phase, the others as averages over time.

    Random kernels all the way keep hardly anything of the spectrum; a filter bank is a usual start for a learned
    front end (Zeghidour et al., LEAF, ICLR 2021). The filters lie on the mel scale between 60 and 7,600 hz, and
    their gain rises with frequency, against the fall of speech.
    """
    import torch

    first, *others = feature_encoder.conv_layers
    channels, _, taps = first.conv.weight.shape
    lowest, highest = (2595.0 * math.log10(1.0 + limit_hz / 700.0) for limit_hz in (60.0, 7600.0))
    mel = torch.linspace(lowest, highest, channels)
    hz = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    time = (torch.arange(taps) - (taps - 1) / 2) / 16_000
    phase = 2.0 * math.pi * torch.rand(channels, 1)
    filters = torch.hann_window(taps, periodic=False) * torch.cos(2.0 * math.pi * hz[:, None] * time + phase)
    gains = (hz / 500.0).clamp(min=1.0).sqrt()[:, None]
    with torch.no_grad():
        first.conv.weight.copy_((gains * filters / filters.norm(dim=1, keepdim=True))[:, None])
        for layer in others:
            # The random kernels stay as a small addition, so that no two channels are treated alike.
            layer.conv.weight.mul_(0.1).add_(torch.eye(channels)[:, :, None] / layer.conv.weight.shape[2])
            if hasattr(layer, "layer_norm"):
                # Above its knee the activation lets weak bands through, which the first layer has rectified.
                layer.layer_norm.bias.fill_(2.0)
