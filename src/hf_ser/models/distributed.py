"""What a model needs before several processes train it together."""

from __future__ import annotations

from typing import Any

from hf_ser.models.encoders import architecture_of
from hf_ser.models.head import plain_model

__all__ = ["drops_trained_layers", "freeze_bystanders"]


def freeze_bystanders(model: Any) -> list[str]:
    """Freeze the weights that have no say in the logits, and return their names.

    The embedding of masked frames has none without SpecAugment, nor has the last layer norm where the states that
    the weighted sum adds are taken before it. They get no gradient, so freezing them changes no result, but
    distributed training would wait for it or search for what is missing at every step.

    Example:
        >>> from transformers import HubertConfig, HubertForSequenceClassification
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
        >>> small |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
        >>> freeze_bystanders(HubertForSequenceClassification(HubertConfig(**small, apply_spec_augment=False)))
        ['hubert.masked_spec_embed']
    """
    base = plain_model(model)
    config, idle = base.config, []
    if not (getattr(config, "apply_spec_augment", False) and config.mask_time_prob > 0):
        idle.append("masked_spec_embed")
    if getattr(config, "do_stable_layer_norm", False) and config.use_weighted_layer_sum:
        idle += ["encoder.layer_norm.weight", "encoder.layer_norm.bias"]
    found = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and any(name.endswith(f".{end}") for end in idle):
            parameter.requires_grad_(False)
            found.append(name)
    return found


def drops_trained_layers(model: Any) -> bool:
    """Return whether LayerDrop may leave weights that train without a gradient in some step.

    Example:
        >>> from transformers import HubertConfig, HubertForSequenceClassification
        >>> small = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
        >>> small |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
        >>> drops_trained_layers(HubertForSequenceClassification(HubertConfig(**small, layerdrop=0.1)))
        True
    """
    base = plain_model(model)
    path = architecture_of(base.config).layers
    encoder = base.get_submodule(path.rpartition(".")[0])
    config = getattr(encoder, "config", base.config)
    # Whisper's encoder keeps the rate itself, the others read the configuration.
    rate = float(getattr(encoder, "layerdrop", None) or getattr(config, "layerdrop", 0.0) or 0.0)
    return rate > 0.0 and any(parameter.requires_grad for parameter in base.get_submodule(path).parameters())
