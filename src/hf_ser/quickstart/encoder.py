"""Write a tiny, untrained encoder."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.text import render

TINY_ARCHITECTURES: tuple[str, ...] = ("hubert", "hubert_group_norm", "wav2vec2", "wavlm", "whisper")
"""What `write_tiny_encoder` can write: `hubert` is built like HuBERT-large, `hubert_group_norm` like HuBERT-base."""

# As in the real encoders, the first frame takes 400 samples and each further one 320; four convolutions instead of
# seven are eight times faster, and the first is long enough to distinguish frequencies.
_WAVEFORM: dict[str, Any] = {
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0),
    **dict.fromkeys(("final_dropout", "layerdrop"), 0.0),
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "apply_spec_augment": False,
    "classifier_proj_size": 32,
    "conv_dim": (64,) * 4,
    "conv_kernel": (120, 2, 2, 2),
    "conv_stride": (40, 2, 2, 2),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE: dict[str, Any] = {**_WAVEFORM, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
_WHISPER_SECONDS = 2
_WHISPER: dict[str, Any] = {
    **dict.fromkeys(("dropout", "pad_token_id"), 0),
    **dict.fromkeys(("bos_token_id", "decoder_start_token_id", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 256),
    "d_model": 64,
    "encoder_layers": 2,
    "vocab_size": 16,
    "eos_token_id": 2,
    "max_source_positions": 50 * _WHISPER_SECONDS,
    "max_target_positions": 8,
    "classifier_proj_size": 32,
}


def write_tiny_encoder(folder: str | os.PathLike[str], seed: int = 0, architecture: str = "hubert") -> Path:
    """Write a tiny encoder and its preprocessor, as a checkpoint without a head; return the folder.

    `AutoModelForAudioClassification.from_pretrained(folder, num_labels=8)` initialises a head on it. Dropout and
    SpecAugment are off in its configuration. The Whisper encoder takes 2 s instead of 30 s.
    """
    import torch
    import transformers

    if architecture not in TINY_ARCHITECTURES:
        raise InputError(f"architecture '{architecture}' is unknown; choose {', '.join(TINY_ARCHITECTURES)}")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to write the tiny encoder to")
    preprocessor: Any = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture == "whisper":
            # With its decoder, as in published checkpoints; the classification model leaves it out.
            model: Any = transformers.WhisperModel(transformers.WhisperConfig(**_WHISPER))
            preprocessor = transformers.WhisperFeatureExtractor(chunk_length=_WHISPER_SECONDS)
        else:
            name = {"wav2vec2": "Wav2Vec2", "wavlm": "WavLM"}.get(architecture, "Hubert")
            settings = _WAVEFORM if architecture == "hubert_group_norm" else _LARGE
            model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
            _set_filters(model.feature_extractor.conv_layers)
    model.save_pretrained(folder)
    preprocessor.save_pretrained(folder)
    readme = render("tiny_encoder.md", architecture=model.config.model_type, seed=seed)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return folder


def _set_filters(layers: Any) -> None:
    """Set the first convolution to Gabor filters, the others nearly to averages over time.

    Random kernels lose most of the spectrum; a filter bank is a usual start of a learned front end (Zeghidour et al.,
    LEAF, ICLR 2021). The filters are spaced on the mel scale, and their gain rises with frequency, as speech falls.
    """
    import torch

    first, *others = layers
    channels, _, taps = first.conv.weight.shape
    lowest, highest = (math.log1p(hertz / 700.0) for hertz in (60.0, 7600.0))
    hertz = 700.0 * torch.expm1(torch.linspace(lowest, highest, channels))[:, None]
    time = (torch.arange(taps) - (taps - 1) / 2) / 16_000
    phase = 2.0 * math.pi * torch.rand(channels, 1)
    filters = torch.hann_window(taps, periodic=False) * torch.cos(2.0 * math.pi * hertz * time + phase)
    filters *= (hertz / 500.0).clamp(min=1.0).sqrt() / filters.norm(dim=1, keepdim=True)
    with torch.no_grad():
        first.conv.weight.copy_(filters[:, None])
        for layer in others:
            layer.conv.weight.mul_(0.1).add_(torch.eye(channels)[:, :, None] / layer.conv.weight.shape[2])
            if hasattr(layer, "layer_norm"):
                # Keeps weak bands, which the first layer has rectified, above the knee of the activation.
                layer.layer_norm.bias.fill_(2.0)
