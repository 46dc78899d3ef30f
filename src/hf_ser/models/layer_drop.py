"""LayerDrop where `transformers` 5 breaks it: together with a weighted sum over the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_ser.models.encoders import architecture_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["record_layer_drop"]


def record_layer_drop(model: PreTrainedModel) -> None:
    """Make LayerDrop compatible with the weighted layer sum, in place.

    `transformers` 5 skips a dropped layer without recording its hidden state, so that the sum over layers
    fails. Here each layer runs and, when it is dropped, hands its input on: the same training signal, the
    full number of hidden states, and a gradient (of zero) for every parameter. The configuration that is
    saved keeps its `layerdrop`.

    Source: Fan et al. 2020, Reducing Transformer Depth on Demand with Structured Dropout.
    """
    import copy

    import torch

    config = model.config
    rate = float(getattr(config, "layerdrop", 0.0) or getattr(config, "encoder_layerdrop", 0.0))
    if rate <= 0.0 or not getattr(config, "use_weighted_layer_sum", False):
        return
    path = architecture_of(config).layers
    encoder = model.get_submodule(path.rpartition(".")[0])
    private = copy.deepcopy(config)
    private.layerdrop = 0.0
    if hasattr(private, "encoder_layerdrop"):
        private.encoder_layerdrop = 0.0
        encoder.layerdrop = 0.0
    encoder.config = private

    def hand_on(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        if not module.training:
            return output
        hidden = output[0] if isinstance(output, tuple) else output
        keep = (torch.rand([], device=hidden.device) >= rate).to(hidden.dtype)
        mixed = keep * hidden + (1 - keep) * arguments[0]
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    for layer in model.get_submodule(path):
        layer.register_forward_hook(hand_on, prepend=True)
