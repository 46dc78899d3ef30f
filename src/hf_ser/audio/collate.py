"""Collate clips into the tensors that an encoder reads, each clip normalised by itself before any padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig


EVENING = ("trim_silence_db", "level_db")
"""Fields that this library adds to a preprocessor's configuration (see `hf_ser.Recipe`)."""


def evened(samples: NDArray[np.float32], trim_silence_db: float | None, level_db: float | None) -> NDArray[np.float32]:
    """Return a clip `(samples,)` without silence at its ends and at a level; one that is silent stays as it is.

    Example:
        >>> tone = np.sin(np.arange(16_000) / 10).astype(np.float32)
        >>> clip = np.concatenate([np.zeros(16_000, np.float32), tone])
        >>> even = evened(clip, 40.0, -20.0)
        >>> len(even) < 18_000, round(float(20 * np.log10(np.sqrt(np.mean(even**2)))))
        (True, -20)
    """
    if trim_silence_db is not None:
        from librosa.effects import trim

        samples = trim(samples, top_db=trim_silence_db)[0]
    if level_db is not None and (power := float(np.mean(np.square(samples, dtype=np.float64)))) > 0:
        samples = (samples * (10 ** (level_db / 20) / np.sqrt(power))).astype(np.float32)
    return samples


def minimum_samples(config: PretrainedConfig, training: bool) -> int:
    """Return the shortest clip that an encoder accepts, in samples.

    The convolutions need their receptive field `R = 1 + sum_i (k_i - 1) * prod_{j<i} s_j` for one frame, and
    `prod_i s_i` samples for each further one. SpecAugment, in training only, needs more frames than one mask has.
    """
    if config.model_type == "whisper":
        return 1
    if not hasattr(config, "conv_kernel"):
        raise InputError(
            f"architecture '{config.model_type}' takes no waveform; choose a HuBERT, wav2vec 2.0, WavLM or Whisper"
        )
    strides = list(config.conv_stride)
    receptive_field = 1 + sum((kernel - 1) * prod(strides[:index]) for index, kernel in enumerate(config.conv_kernel))
    frames = 1
    if training and config.apply_spec_augment and config.mask_time_prob > 0:
        frames = config.mask_time_length + 1
    return int(receptive_field + (frames - 1) * prod(strides))


class Collator:
    """Collate items into a batch of tensors; it can be pickled, for worker processes.

    Waveforms shorter than the encoder's minimum are extended with zeros, which count as part of the clip. An attention
    mask is always made: without one, the feature extractor would normalise over the padding, and the encoder would
    attend to it. Whisper gets log-mel features of its full length, without a mask.

    Example:
        >>> import numpy as np
        >>> from transformers import HubertConfig, Wav2Vec2FeatureExtractor
        >>> collate = Collator(Wav2Vec2FeatureExtractor(), HubertConfig(), training=False)
        >>> batch = collate([{"samples": np.ones(length, np.float32), "labels": 0} for length in (100, 1000)])
        >>> {name: tuple(tensor.shape) for name, tensor in batch.items()}
        {'input_values': (2, 1000), 'attention_mask': (2, 1000), 'labels': (2,)}
    """

    def __init__(self, feature_extractor: Any, config: PretrainedConfig, training: bool) -> None:
        expected = "input_features" if config.model_type == "whisper" else "input_values"
        self._minimum = minimum_samples(config, training)
        if feature_extractor.model_input_names[0] != expected:
            raise InputError(
                f"{type(feature_extractor).__name__} does not fit architecture '{config.model_type}'; "
                "load the preprocessor of the same checkpoint"
            )
        self._feature_extractor = feature_extractor
        self.sampling_rate = int(feature_extractor.sampling_rate)
        self._is_whisper = config.model_type == "whisper"
        self._evening = tuple(getattr(feature_extractor, name, None) for name in EVENING)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch of items with `samples` `(samples,)` and perhaps `labels`.

        Returns:
            `input_values` and `attention_mask` `(batch, samples)`, or `input_features` `(batch, mel bins, frames)`;
            `labels` `(batch,)`, int64, and `targets` `(batch, labels)`, where the items have them.
        """
        import torch

        rate, clips = self.sampling_rate, []
        for index, item in enumerate(items):
            samples = item["samples"]
            if samples.ndim != 1 or not len(samples):
                raise InputError(f"clip {index} of the batch: samples must be (samples,), not {samples.shape}")
            samples = evened(samples, *self._evening)
            clips.append(np.pad(samples, (0, max(0, self._minimum - len(samples)))))
        if self._is_whisper:
            longest, most = max(map(len, clips)), self._feature_extractor.n_samples
            if longest > most:
                raise InputError(
                    f"a clip of {longest} samples is longer than the {most} of Whisper; cut it into segments"
                )
            batch = dict(self._feature_extractor(clips, sampling_rate=rate, return_tensors="pt"))
        else:
            encoded = self._feature_extractor(
                clips, sampling_rate=rate, padding=True, return_attention_mask=True, return_tensors="pt"
            )
            # Copied into memory that torch aligns: where operands lie, sums may round by it.
            batch = {name: encoded[name].clone() for name in ("input_values", "attention_mask")}
        if items and "labels" in items[0]:
            batch["labels"] = torch.tensor([item["labels"] for item in items], dtype=torch.long)
        if items and "targets" in items[0]:
            batch["targets"] = torch.from_numpy(np.stack([item["targets"] for item in items]))
        return batch
