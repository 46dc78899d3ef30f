"""Other forward passes for a model's front end, put in place for a while: the model itself is never changed.

What they compute stands in `hf_ser.models.convolutions`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hf_ser.models.convolutions import Convolutions, PositionalConvolution, TrainedConvolutions
from hf_ser.models.encoders import architecture_of
from hf_ser.models.head import plain_model

__all__ = ["FrontEnd"]


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
                self._undo = self._put_in_place(self._passes)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    for undo in self._undo:
                        undo()

    @contextmanager
    def trained(self, *, recompute: bool = False) -> Iterator[None]:
        """Compute the convolutions clip by clip within the block, with gradients; for one thread.

        Args:
            recompute: Whether to compute them again for the gradient, one clip at a time, instead of keeping what
                lies between the layers: a tenth more work for most of the memory of a step.
        """
        if not self.applies:
            yield
            return
        part = self._trunk.feature_extractor
        undo = self._put_in_place([(part, TrainedConvolutions(part, self._lengths, recompute=recompute))])
        try:
            yield
        finally:
            for step in undo:
                step()

    def _prepare(self) -> None:
        parts = [*([self._trunk.feature_extractor] if self.applies else []), *filter(None, [self._positions])]
        weights = [parameter.detach() for part in parts for parameter in part.parameters()]
        # By their values: fused optimisers change weights without raising the tensors' version.
        if self._passes and all(_is_same(*pair) for pair in zip(weights, self._weights, strict=True)):
            return
        with torch.inference_mode(False), torch.no_grad():
            self._weights = [weight.clone() for weight in weights]
            self._passes = [
                (part, PositionalConvolution(part) if part is self._positions else Convolutions(part, self._lengths))
                for part in parts
            ]

    def _put_in_place(
        self, passes: list[tuple[Any, Callable[[torch.Tensor], torch.Tensor]]]
    ) -> list[Callable[[], None]]:
        def note_lengths(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            mask = named.get("attention_mask", arguments[1] if len(arguments) > 1 else None)
            self._lengths.value = None if mask is None else mask.sum(-1).tolist()

        def forget_lengths(*_: Any) -> None:
            self._lengths.value = None

        undo: list[Callable[[], None]] = [
            self._trunk.register_forward_pre_hook(note_lengths, with_kwargs=True).remove,
            self._trunk.register_forward_hook(forget_lengths, always_call=True).remove,
        ]
        for module, forward in passes:
            module.forward = forward
            undo.append(functools.partial(delattr, module, "forward"))
        return undo


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
