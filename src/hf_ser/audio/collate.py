"""Collate clips into the tensors that an encoder reads, each clip normalised by itself before any padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig


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

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch of items with `samples` `(samples,)` and perhaps `labels`.

        Returns:
            `input_values` and `attention_mask` `(batch, samples)`, or `input_features` `(batch, mel bins, frames)`;
            `labels` `(batch,)`, int64, where the items have them.
        """
        import torch

        rate = self._feature_extractor.sampling_rate
        clips = []
        for index, item in enumerate(items):
            samples = item["samples"]
            if samples.ndim != 1 or not len(samples):
                raise InputError(f"clip {index} of the batch: samples must be (samples,), not {samples.shape}")
            clips.append(np.pad(samples, (0, max(0, self._minimum - len(samples)))))
        if self._is_whisper:
            batch = {"input_features": torch.from_numpy(self._log_mel(clips))}
        else:
            encoded = self._feature_extractor(
                clips, sampling_rate=rate, padding=True, return_attention_mask=True, return_tensors="pt"
            )
            batch = {"input_values": encoded["input_values"], "attention_mask": encoded["attention_mask"]}
        if items and "labels" in items[0]:
            batch["labels"] = torch.tensor([item["labels"] for item in items], dtype=torch.long)
        return batch

    def _log_mel(self, clips: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return what the extractor returns when it pads to its full length, in a twentieth of the time.

        All frames of the padding are the same, so one of them is computed and repeated.
        """
        extractor = self._feature_extractor
        longest = max(len(clip) for clip in clips)
        if longest > extractor.n_samples:
            raise InputError(
                f"a clip of {longest} samples is longer than the {extractor.n_samples} that Whisper takes; "
                "cut it into segments"
            )
        # The last frame's window, mirrored at the end of the signal, must see nothing but padding.
        reach = longest + 2 * extractor.n_fft
        length = min(-(-reach // extractor.hop_length) * extractor.hop_length, extractor.n_samples)
        features = extractor(
            clips, sampling_rate=extractor.sampling_rate, padding="max_length", max_length=length, return_tensors="np"
        )["input_features"]
        missing = extractor.nb_max_frames - features.shape[2]
        padded: npt.NDArray[np.float32] = np.pad(features, ((0, 0), (0, 0), (0, missing)), mode="edge")
        return padded
