"""Group normalisation of each clip over its own frames, for encoders whose output would depend on padding."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hf_ser.models.architectures import architecture_of, plain_model


def normalize_each_clip(model: Any) -> None:
    """Make predictions of a group-norm encoder independent of padding, in place.

    The base models of HuBERT, wav2vec 2.0 and WavLM (`feat_extract_norm="group"`) normalise each channel of the first
    convolution over all frames of the padded clip. Here the norm is taken over the frames that the attention mask
    keeps. Parameters and their names stay the same; without padding, so do the results. Other models, and models that
    were changed before, are left as they are.
    """
    base = plain_model(model)
    if getattr(base.config, "feat_extract_norm", "layer") != "group":
        return
    encoder = base.get_submodule(architecture_of(base.config).base)
    layer = encoder.feature_extractor.conv_layers[0]
    if isinstance(layer.layer_norm, _EachClipGroupNorm):
        return
    lengths = _ClipLengths()
    layer.layer_norm = _EachClipGroupNorm(layer.layer_norm, layer.conv.kernel_size[0], layer.conv.stride[0], lengths)
    encoder.register_forward_pre_hook(lengths, with_kwargs=True)


class _ClipLengths:
    """Reads the clips' lengths from the attention mask that an encoder is called with; one value per thread."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self._last: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[_ClipLengths], tuple[()]]:
        # Locals of a thread cannot be copied; a copied model's hook and norm share one new object.
        return _ClipLengths, ()

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        mask = named.get("attention_mask", arguments[1] if len(arguments) > 1 else None)
        # Asking an accelerator whether anything is padded would wait for it.
        padded = mask is not None and (mask.device.type != "cpu" or not bool(mask.all()))
        self._thread.value = self._last = mask.sum(dim=-1) if padded else None

    def value(self) -> torch.Tensor | None:
        # Gradient checkpointing computes the layer again in a thread of autograd, which called no encoder.
        return getattr(self._thread, "value", self._last)


class _EachClipGroupNorm(nn.GroupNorm):
    """A group norm with one group per channel that leaves padded frames out of its statistics."""

    def __init__(self, norm: nn.GroupNorm, kernel: int, stride: int, lengths: _ClipLengths) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps)
        self.weight, self.bias = norm.weight, norm.bias
        self._kernel, self._stride, self._lengths = kernel, stride, lengths

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        lengths = self._lengths.value()
        if lengths is None or len(lengths) != len(input):
            return super().forward(input)
        frames = ((lengths - self._kernel) // self._stride + 1).clamp(1, input.shape[-1])
        valid = (torch.arange(input.shape[-1], device=input.device) < frames[:, None])[:, None]
        exact = input.to(torch.promote_types(input.dtype, torch.float32))
        frames = frames[:, None, None].to(exact.dtype)
        mean = (exact * valid).sum(dim=-1, keepdim=True) / frames
        # In place: one tensor of the size of the input is kept for the gradient, as by the plain norm.
        centred = (exact - mean).mul_(valid)
        variance = centred.square().sum(dim=-1, keepdim=True) / frames
        scale = self.weight[:, None] * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias[:, None].to(exact.dtype), centred, scale.to(exact.dtype)).to(input.dtype)
