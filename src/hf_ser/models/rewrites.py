"""The waveform front end and the positional convolution, written anew for answering: the same numbers, sooner.

`transformers` computes them as its training code does. Where no gradient is asked for, the same sums can be taken

* by matrix products over frames that lie channels-last, in pieces that stay in the processor's cache, without the
  transpositions around each layer norm;
* over the samples of each clip alone. A group norm over time then never sees padding, which it would average in:
  the encoders that have one (`feat_extract_norm="group"`) become as independent of their neighbours as the others.
  Its statistics follow from the waveform, so that it folds into the first convolution:
  for windows x with mean m and covariance C, ``w x + b`` has mean ``w m + b`` and variance ``w C w'``;
* for the positional convolution, whose kernel is 128 samples or more, by Fourier transforms, with its weight
  normalised once instead of at every call.

The model itself is never changed: `FrontEnd.active` puts the other forward passes in place for a while. Sources:
Baevski et al. 2020, arXiv:2006.11477 (the layers); Oppenheim and Schafer, Discrete-Time Signal Processing, 8.7.3
(overlap-save).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import nn

from hf_ser.models.encoders import architecture_of
from hf_ser.models.head import plain_model

__all__ = ["FrontEnd"]

_TILE_BYTES = 4 << 20
_SHORTEST_FOURIER_KERNEL = 48
_BLOCK_FRAMES = 256


class FrontEnd:
    """The other forward passes of one model.

    Args:
        model: A `*ForSequenceClassification` model or a PEFT model around one.

    Attributes:
        applies: Whether this model's front end is known through and through. An architecture without one, adapters
            or hooks within it, and weights that are split over processes leave the model as it is.

    Example:
        >>> from transformers import HubertConfig, HubertForSequenceClassification
        >>> sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
        >>> model = HubertForSequenceClassification(HubertConfig(**sizes)).eval()
        >>> front_end, clips = FrontEnd(model), torch.randn(2, 8000)
        >>> with torch.inference_mode():
        ...     stock = model(clips).logits
        ...     with front_end.active():
        ...         ours = model(clips).logits
        >>> front_end.applies, bool((stock - ours).abs().max() < 1e-5)
        (True, True)
    """

    def __init__(self, model: Any) -> None:
        base = plain_model(model)
        architecture = architecture_of(base.config)
        self._trunk: Any = base.get_submodule(architecture.layers.split(".")[0])
        self._lengths = threading.local()
        self._lock = threading.Lock()
        self._users = 0
        self._weights: list[torch.Tensor] = []
        self._undo: list[Callable[[], None]] = []
        self._passes: list[tuple[Any, Callable[[torch.Tensor], torch.Tensor]]] = []
        self._positions = getattr(getattr(self._trunk, "encoder", None), "pos_conv_embed", None)
        self.applies = architecture.raw_waveform and _convolutions_are_known(
            getattr(self._trunk, "feature_extractor", None)
        )
        if not (architecture.raw_waveform and _positions_are_known(self._positions)):
            self._positions = None

    @property
    def is_frozen(self) -> bool:
        """Whether nothing up to the transformer layers trains, so that training may pass it without gradients too."""
        layers = {id(parameter) for parameter in self._trunk.encoder.layers.parameters()} if self.applies else set()
        below = (parameter for parameter in self._trunk.parameters() if id(parameter) not in layers)
        return self.applies and not any(parameter.requires_grad for parameter in below)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute by the other forward passes within the block, without gradients; any thread may.

        The attention mask that the model is called with says where each clip ends; without one, all are as long as
        the batch.
        """
        if not self.applies and self._positions is None:
            yield
            return
        with self._lock:
            if not self._users:
                self._prepare()
                self._put_in_place()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    for undo in self._undo:
                        undo()

    def _prepare(self) -> None:
        parts = [*([self._trunk.feature_extractor] if self.applies else []), *filter(None, [self._positions])]
        weights = [parameter.detach() for part in parts for parameter in part.parameters()]
        # By their values: fused optimisers change weights without raising the tensors' version.
        if self._passes and all(_is_same(*pair) for pair in zip(weights, self._weights, strict=True)):
            return
        with torch.inference_mode(False), torch.no_grad():
            self._weights = [weight.clone() for weight in weights]
            self._passes = [
                (part, _PositionalConvolution(part) if part is self._positions else _Convolutions(part, self._lengths))
                for part in parts
            ]

    def _put_in_place(self) -> None:
        def note_lengths(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            mask = named.get("attention_mask", arguments[1] if len(arguments) > 1 else None)
            self._lengths.value = None if mask is None else mask.sum(-1).tolist()

        def forget_lengths(*_: Any) -> None:
            self._lengths.value = None

        self._undo = [
            self._trunk.register_forward_pre_hook(note_lengths, with_kwargs=True).remove,
            self._trunk.register_forward_hook(forget_lengths, always_call=True).remove,
        ]
        for module, forward in self._passes:
            module.forward = forward
            self._undo.append(functools.partial(delattr, module, "forward"))


def _is_same(weight: torch.Tensor, before: torch.Tensor) -> bool:
    alike = weight.dtype == before.dtype and weight.device == before.device and weight.shape == before.shape
    return alike and torch.equal(weight, before)


def _is_plain(part: nn.Module) -> bool:
    """Whether nothing hangs on the modules within, and their weights are all here."""
    for module in part.modules():
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return False
    # Fully sharded weights are whole within their own module's forward pass only.
    return all(parameter.numel() and not hasattr(parameter, "device_mesh") for parameter in part.parameters())


def _convolutions_are_known(part: Any) -> bool:
    layers = getattr(part, "conv_layers", None)
    if not layers or not _is_plain(part):
        return False
    norms = [getattr(layer, "layer_norm", None) for layer in layers]
    return (
        all(
            isinstance(layer.conv, nn.Conv1d)
            and layer.conv.groups == 1
            and layer.conv.padding == (0,)
            and layer.conv.dilation == (1,)
            and layer.conv.kernel_size >= layer.conv.stride
            for layer in layers
        )
        and layers[0].conv.in_channels == 1
        and isinstance(norms[0], nn.LayerNorm | nn.GroupNorm)
        and (not isinstance(norms[0], nn.GroupNorm) or norms[0].num_groups == norms[0].num_channels)
        and all(norm is None or isinstance(norm, nn.LayerNorm) for norm in norms[1:])
    )


def _positions_are_known(part: Any) -> bool:
    convolution = getattr(part, "conv", None)
    return (
        isinstance(convolution, nn.Conv1d)
        and getattr(part, "batch_norm", None) is None
        and convolution.stride == convolution.dilation == (1,)
        and convolution.padding == (convolution.kernel_size[0] // 2,)
        and _is_plain(part)
    )


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


class _Convolutions:
    """The feature encoder: waveforms `(clips, samples)` to `(clips, channels, frames)`."""

    def __init__(self, module: Any, lengths: threading.local) -> None:
        self._layers = [_Layer(layer) for layer in module.conv_layers]
        self._lengths = lengths
        self._hop = prod(layer.stride for layer in self._layers)
        first = self._layers[0]
        bytes_a_frame = first.channels * first.whole.element_size() * self._hop // first.stride
        # On an accelerator, pieces would only cost launches.
        on_processor = first.whole.device.type == "cpu"
        self._tile = max(16, _TILE_BYTES // bytes_a_frame) if on_processor else 1 << 30

    def frames(self, samples: int) -> int:
        for layer in self._layers:
            samples = (samples - layer.kernel) // layer.stride + 1
        return samples

    def __call__(self, waveforms: torch.Tensor) -> torch.Tensor:
        device = waveforms.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            exact = waveforms.to(self._layers[0].whole.dtype)
            width = waveforms.shape[1]
            lengths: Sequence[int] = getattr(self._lengths, "value", None) or [width] * len(waveforms)
            found = exact.new_zeros((len(waveforms), self.frames(width), self._layers[-1].channels))
            for clip, length, target in zip(exact, lengths, found, strict=True):
                self._clip(clip[: int(length)], target)
        return found.to(waveforms.dtype).transpose(1, 2)

    def _clip(self, samples: torch.Tensor, target: torch.Tensor) -> None:
        count = self.frames(len(samples))
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
        windows = samples.unfold(0, first.kernel, first.stride).double()
        mean = windows.mean(dim=0)
        centred = windows - mean
        covariance = centred.T @ centred / len(windows)
        weight = first.whole.double()
        variance = (weight * (covariance @ weight)).sum(dim=0)
        scale = first.norm_weight.double() / (variance + first.norm.eps).sqrt()
        shift = first.norm_bias.double() - (mean @ weight) * scale
        return (weight * scale).to(first.whole.dtype), shift.to(first.whole.dtype)


class _PositionalConvolution:
    """The grouped convolution that gives frames `(clips, frames, channels)` their place."""

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
