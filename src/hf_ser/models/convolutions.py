"""The waveform front end and the positional convolution, computed in other ways: the same numbers, sooner.

`transformers` computes the convolutions channels-first, clips and their padding together. The same sums can be taken

* by matrix products over frames that lie channels-last, without the transpositions around each layer norm, and
  where no gradient is asked for, in pieces that stay in the processor's cache;
* over the samples of each clip alone. A group norm over time then never sees padding, which it would average in:
  the encoders that have one (`feat_extract_norm="group"`) become as independent of their neighbours as the others.
  Its statistics follow from the waveform, so that it folds into the first convolution:
  for windows x with mean m and covariance C, ``w x + b`` has mean ``w m + b`` and variance ``w C w'``;
* for the positional convolution, whose kernel is 128 samples or more, by Fourier transforms, with its weight
  normalised once instead of at every call.

Sources: Baevski et al. 2020, arXiv:2006.11477 (the layers); Oppenheim and Schafer, Discrete-Time Signal Processing,
8.7.3 (overlap-save).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Convolutions", "PositionalConvolution", "TrainedConvolutions"]

_TILE_BYTES = 4 << 20
_SHORTEST_FOURIER_KERNEL = 48
_BLOCK_FRAMES = 256


def _exact(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Weights of half precision are computed with in single precision."""
    if tensor is None:
        return None
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


class _Layer:
    """One convolution over time with its norm and activation, on frames `(frames, channels)`."""

    def __init__(self, module: Any) -> None:
        weight: Any = _exact(module.conv.weight)
        self.kernel, self.stride = int(module.conv.kernel_size[0]), int(module.conv.stride[0])
        bias = _exact(module.conv.bias)
        self.bias: torch.Tensor = weight.new_zeros(len(weight)) if bias is None else bias
        self.channels = len(weight)
        # Rows of the input that lie side by side are one row of a matrix product, as many as the stride: the rows
        # of that view do not overlap, so nothing is copied.
        self.taps = [
            (first, width, weight[:, :, first : first + width].permute(2, 1, 0).reshape(-1, self.channels).contiguous())
            for first in range(0, self.kernel, self.stride)
            for width in (min(self.stride, self.kernel - first),)
        ]
        self.whole = weight.permute(2, 1, 0).reshape(-1, self.channels).contiguous()
        self.norm: Any = getattr(module, "layer_norm", None)
        weights: Any = (None, None) if self.norm is None else (_exact(self.norm.weight), _exact(self.norm.bias))
        self.norm_weight, self.norm_bias = weights
        self.activation = module.activation

    def finish(self, frames: torch.Tensor, *, normalise: bool = True) -> torch.Tensor:
        if self.norm is not None and normalise:
            shape = (self.channels,)
            frames = nn.functional.layer_norm(frames, shape, self.norm_weight, self.norm_bias, self.norm.eps)
        result: torch.Tensor = self.activation(frames)
        return result

    def __call__(self, frames: torch.Tensor, count: int) -> torch.Tensor:
        channels = frames.shape[1]
        total: torch.Tensor | None = None
        for first, width, weight in self.taps:
            rows = frames.as_strided(
                (count, width * channels),
                (self.stride * channels, 1),
                frames.storage_offset() + first * channels,
            )
            total = torch.addmm(self.bias, rows, weight) if total is None else total.addmm_(rows, weight)
        assert total is not None
        return self.finish(total)


def _frames(layers: Sequence[Any], samples: int) -> int:
    for layer in layers:
        samples = (samples - layer.kernel) // layer.stride + 1
    return samples


def _with_group_norm(
    windows: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight `(kernel, channels)` and bias that convolve and normalise over all windows `(windows, kernel)`."""
    exact, taps = windows.double(), weight.double()
    mean = exact.mean(dim=0)
    centred = exact - mean
    covariance = centred.T @ centred / len(windows)
    variance = (taps * (covariance @ taps)).sum(dim=0)
    factor = scale.double() / (variance + eps).sqrt()
    bias = shift.double() - (mean @ taps) * factor
    return (taps * factor).to(weight.dtype), bias.to(weight.dtype)


class Convolutions:
    """The feature encoder without gradients.

    Args:
        module: The feature encoder; its weights are read now.
        lengths: `value` holds the clips' lengths in samples, or None.
    """

    def __init__(self, module: Any, lengths: threading.local) -> None:
        self._layers = [_Layer(layer) for layer in module.conv_layers]
        self._lengths = lengths
        self._hop = prod(layer.stride for layer in self._layers)
        first = self._layers[0]
        bytes_a_frame = first.channels * first.whole.element_size() * self._hop // first.stride
        # On an accelerator, pieces would only cost launches.
        on_processor = first.whole.device.type == "cpu"
        self._tile = max(16, _TILE_BYTES // bytes_a_frame) if on_processor else 1 << 30

    def __call__(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Return `(clips, channels, frames)` of waveforms `(clips, samples)`; zeros behind a clip's end."""
        device = waveforms.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            exact = waveforms.to(self._layers[0].whole.dtype)
            width = waveforms.shape[1]
            lengths: Sequence[int] = getattr(self._lengths, "value", None) or [width] * len(waveforms)
            found = exact.new_zeros((len(waveforms), _frames(self._layers, width), self._layers[-1].channels))
            for clip, length, target in zip(exact, lengths, found, strict=True):
                self._clip(clip[: int(length)], target)
        return found.to(waveforms.dtype).transpose(1, 2)

    def _clip(self, samples: torch.Tensor, target: torch.Tensor) -> None:
        count = _frames(self._layers, len(samples))
        weight, bias = self._first(samples)
        pieces = -(-count // self._tile)
        bounds = [piece * count // pieces for piece in range(pieces + 1)]
        for start, stop in pairwise(bounds):
            needed = [stop - start]
            for layer in reversed(self._layers):
                needed.append((needed[-1] - 1) * layer.stride + layer.kernel)
            needed.reverse()
            first = self._layers[0]
            windows = samples[start * self._hop :][: needed[0]].unfold(0, first.kernel, first.stride)
            frames = first.finish(
                torch.addmm(bias, windows, weight), normalise=not isinstance(first.norm, nn.GroupNorm)
            )
            for layer, rows in zip(self._layers[1:], needed[2:], strict=True):
                frames = layer(frames, rows)
            target[start:stop] = frames

    def _first(self, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first convolution's weight and bias, with the group norm over the clip folded in."""
        first = self._layers[0]
        if not isinstance(first.norm, nn.GroupNorm):
            return first.whole, first.bias
        windows = samples.unfold(0, first.kernel, first.stride)
        return _with_group_norm(windows, first.whole, first.norm_weight, first.norm_bias, first.norm.eps)


class PositionalConvolution:
    """The grouped convolution that gives frames their place, without gradients.

    Args:
        module: The positional convolution; its weights are read now.
    """

    def __init__(self, module: Any) -> None:
        convolution = module.conv
        weight: Any = _exact(convolution.weight)
        self._bias = _exact(convolution.bias)
        self._activation = module.activation
        self._groups = int(convolution.groups)
        self._padding = int(convolution.padding[0])
        self._kernel = int(convolution.kernel_size[0])
        self._weight = weight
        self._spectrum: torch.Tensor | None = None
        if self._kernel >= _SHORTEST_FOURIER_KERNEL:
            channels, members, _ = weight.shape
            self._size = self._kernel + _BLOCK_FRAMES
            # The conjugate, since a network's convolution is a correlation.
            spectrum = torch.fft.rfft(weight, n=self._size).conj()
            grouped = spectrum.reshape(self._groups, channels // self._groups, members, -1)
            self._spectrum = grouped.permute(3, 0, 2, 1).resolve_conj().contiguous()

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what is added to the frames `(clips, frames, channels)`, of the same shape."""
        with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
            exact = hidden.to(self._weight.dtype)
            found = self._direct(exact) if self._spectrum is None else self._blocks(exact, self._spectrum)
            result: torch.Tensor = self._activation(found).to(hidden.dtype)
        return result

    def _direct(self, hidden: torch.Tensor) -> torch.Tensor:
        frames = hidden.transpose(1, 2)
        found = nn.functional.conv1d(frames, self._weight, self._bias, padding=self._padding, groups=self._groups)
        return found[:, :, : hidden.shape[1]].transpose(1, 2)

    def _blocks(self, hidden: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        clips, frames, channels = hidden.shape
        hop = self._size - self._kernel + 1
        blocks = -(-frames // hop)
        right = (blocks - 1) * hop + self._size - frames - self._padding
        padded = nn.functional.pad(hidden, (0, 0, self._padding, right)).transpose(1, 2)
        transformed = torch.fft.rfft(padded.unfold(2, self._size, hop), dim=3)
        members, points = channels // self._groups, transformed.shape[3]
        grouped = transformed.view(clips, self._groups, members, blocks, points).permute(4, 1, 0, 3, 2)
        product = torch.matmul(grouped.reshape(points, self._groups, clips * blocks, members), spectrum)
        # The first samples of a block are free of what wraps around its end.
        found: torch.Tensor = torch.fft.irfft(product.permute(2, 1, 3, 0), n=self._size, dim=3)[..., :hop]
        found = found.reshape(clips, blocks, channels, hop).permute(0, 1, 3, 2)
        found = found.reshape(clips, blocks * hop, channels)[:, :frames]
        return found if self._bias is None else found + self._bias


class TrainedConvolutions:
    """The feature encoder with gradients, clip by clip.

    Args:
        module: The feature encoder; its weights are read at every call.
        lengths: `value` holds the clips' lengths in samples, or None.
        recompute: Whether to keep nothing of a clip but its samples, and to compute the rest again, one clip at a
            time, when the gradient is due.
    """

    def __init__(self, module: Any, lengths: threading.local, *, recompute: bool) -> None:
        self._layers = [_TrainedLayer(layer) for layer in module.conv_layers]
        self._lengths = lengths
        self._recompute = recompute

    def __call__(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Return `(clips, channels, frames)` of waveforms `(clips, samples)`; zeros behind a clip's end."""
        width = waveforms.shape[1]
        lengths: Sequence[int] = getattr(self._lengths, "value", None) or [width] * len(waveforms)
        clips = [clip[: int(length)] for clip, length in zip(waveforms, lengths, strict=True)]
        if self._recompute and torch.is_grad_enabled():
            found = [checkpoint(self._clip, clip, use_reentrant=False, preserve_rng_state=False) for clip in clips]
        else:
            found = [self._clip(clip) for clip in clips]
        frames = nn.utils.rnn.pad_sequence(found, batch_first=True)
        missing = _frames(self._layers, width) - frames.shape[1]
        return nn.functional.pad(frames, (0, 0, 0, missing)).transpose(1, 2)

    def _clip(self, samples: torch.Tensor) -> torch.Tensor:
        frames = samples[:, None]
        for layer in self._layers:
            frames = layer(frames)
        return frames


class _TrainedLayer:
    """One convolution over time with its norm and activation, on frames `(frames, channels)`, with gradients."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.kernel, self.stride = int(module.conv.kernel_size[0]), int(module.conv.stride[0])
        self._norm: Any = getattr(module, "layer_norm", None)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        weight, bias = self._module.conv.weight, self._module.conv.bias
        count = (len(frames) - self.kernel) // self.stride + 1
        if isinstance(self._norm, nn.GroupNorm):
            windows = frames[:, 0].unfold(0, self.kernel, self.stride)
            taps, shift = _with_group_norm(windows, weight[:, 0].T, self._norm.weight, self._norm.bias, self._norm.eps)
            total = nn.functional.linear(windows, taps.T, shift)
        elif frames.shape[1] == 1:
            total = nn.functional.linear(frames[:, 0].unfold(0, self.kernel, self.stride), weight[:, 0], bias)
        else:
            total = self._by_taps(frames, count, weight, bias)
        if isinstance(self._norm, nn.LayerNorm):
            total = self._norm(total)
        result: torch.Tensor = self._module.activation(total)
        return result

    def _by_taps(self, frames: torch.Tensor, count: int, weight: torch.Tensor, bias: Any) -> torch.Tensor:
        """Sum a product for each run of taps as long as the stride: its rows do not overlap, so nothing is copied."""
        channels = frames.shape[1]
        total: torch.Tensor | None = None
        for first in range(0, self.kernel, self.stride):
            width = min(self.stride, self.kernel - first)
            stop = first + count * self.stride
            if width == self.stride:
                rows = frames[first:stop].reshape(count, width * channels)
            else:
                rows = torch.cat([frames[tap : tap + (count - 1) * self.stride + 1 : self.stride]
                                  for tap in range(first, first + width)], dim=1)  # fmt: skip
            taps = weight[:, :, first : first + width].permute(0, 2, 1).reshape(len(weight), -1)
            part = nn.functional.linear(rows, taps, bias if total is None else None)
            total = part if total is None else total + part
        assert total is not None
        return total
