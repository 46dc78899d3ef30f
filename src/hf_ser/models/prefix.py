"""The frozen part of a model, run apart from the rest: what it makes of a clip can be kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from hf_ser.models.encoders import architecture_of, depends_on_padding, is_above, part_of
from hf_ser.models.head import head_logits, plain_model, pooled_inputs
from hf_ser.models.recipes import Recipe

__all__ = ["Prefix", "PrefixedModel", "prefix_of", "unwrapped"]

POOLED, POOLED_LAYERS, FEATURES, HIDDEN = "pooled", "pooled_layers", "feature_encoder", "lower_layers"

_NOISE = ("dropout", "layerdrop", "mask_", "apply_spec_augment")
_NAMES = ("id2label", "label2id", "_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def prefix_of(model: Any, chosen: Recipe) -> Prefix | None:
    """Return the frozen part of an adapted model, or None where all of it trains.

    Args:
        model: What `hf_ser.models.recipes.adapt` returned.
        chosen: The recipe.
    """
    base = plain_model(model)
    architecture = architecture_of(base.config)
    trained = {part_of(name, architecture) for name, weight in model.named_parameters() if weight.requires_grad}
    if chosen.encoder_is_frozen:
        return Prefix(base, POOLED_LAYERS if "layer_weights" in trained else POOLED)
    if chosen.trained_layers is not None:
        # LayerDrop of Whisper's encoder may drop the very layer in whose place the kept states enter.
        return Prefix(base, HIDDEN, base.config.num_hidden_layers - chosen.trained_layers)
    if "feature_encoder" not in trained and architecture.raw_waveform:
        return Prefix(base, FEATURES)
    # Whisper's two convolutions are a hundredth of its work, and their output for 30 seconds is 2.3 MB and more.
    return None


class Prefix:
    """What is frozen at the lower end of a model, always in evaluation mode.

    Args:
        model: The `*ForSequenceClassification` model, without PEFT's wrapper.
        stage: How far the frozen part reaches, and so what it makes of a clip: `pooled`, the whole encoder, one
            vector `(hidden,)`; `pooled_layers`, one a layer `(layers + 1, hidden)` for a weighted sum that trains;
            `feature_encoder`, the convolutions, `(frames, channels)`; `lower_layers`, `(frames, hidden)`.
        frozen_layers: How many of the lower transformer layers belong to it; for `lower_layers` alone.
    """

    def __init__(self, model: Any, stage: str, frozen_layers: int = 0) -> None:
        self.model = model
        self.stage = stage
        self.frozen_layers = frozen_layers
        self._architecture = architecture_of(model.config)
        self._base = model.get_submodule(self._architecture.base)
        self._encoder = model.get_submodule(self._architecture.layers.rpartition(".")[0])
        layers = model.get_submodule(self._architecture.layers)
        self._below, self._above = list(layers[:frozen_layers]), list(layers[frozen_layers:])

    @property
    def is_pooled(self) -> bool:
        """Whether the whole encoder is frozen, so that nothing but the head is left to run."""
        return self.stage in (POOLED, POOLED_LAYERS)

    def fingerprint(self, feature_extractor: Any) -> str:
        """Return a SHA-256 over what decides the states: the weights up to here, their use, and the preprocessor."""
        config = {
            key: value
            for key, value in self.model.config.to_dict().items()
            if key not in _NAMES and not any(word in key for word in _NOISE)
        }
        facts = [self.stage, self.frozen_layers, type(self.model).__name__, config, feature_extractor.to_dict()]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            if self._reads(name):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _reads(self, name: str) -> bool:
        part = part_of(name, self._architecture)
        if self.stage == FEATURES:
            return part == "feature_encoder"
        if self.stage == HIDDEN:
            return not is_above(name, self.model.config, self.frozen_layers)
        return part != "head" and (part != "layer_weights" or self.stage == POOLED)

    def shape(self, samples: int) -> tuple[int, ...]:
        """Return the shape of what it makes of a clip of some samples."""
        config = self.model.config
        if self.stage == POOLED:
            return (int(config.hidden_size),)
        if self.stage == POOLED_LAYERS:
            return (int(config.num_hidden_layers) + 1, int(config.hidden_size))
        channels = config.conv_dim[-1] if self.stage == FEATURES else config.hidden_size
        return (self._frames(samples), int(channels))

    def _frames(self, samples: int) -> int:
        if not self._architecture.raw_waveform:
            return int(self.model.config.max_source_positions)
        return int(self.model._get_feat_extract_output_lengths(samples))

    def run(self, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return what it makes of each clip, without its padding.

        Args:
            batch: `input_values` and `attention_mask` `(batch, samples)`, or `input_features`.
        """
        with self.ready():
            return self.states(batch)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Let `states` be called within the block, by any thread."""
        modes = [(module, module.training) for module in self.model.modules()]
        # Freezing alone does not switch dropout, LayerDrop and SpecAugment off.
        self.model.eval()
        try:
            with self._in_place():
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    def _in_place(self) -> AbstractContextManager[None]:
        """Return what puts everything above the frozen part out of the way."""
        if self.stage == POOLED:
            return pooled_inputs(self.model)
        if self.stage != HIDDEN:
            return nullcontext()
        stand_ins = [(layer, "forward", _pass_on(layer)) for layer in self._above]
        if is_above(f"{self._architecture.layers.rpartition('.')[0]}.layer_norm", self.model.config, 0):
            stand_ins.append((self._encoder.layer_norm, "forward", lambda states: states))
        return _standing_in(stand_ins)

    def states(self, batch: Mapping[str, torch.Tensor], *, together: bool | None = None) -> list[torch.Tensor]:
        """Return what `run` does, within `ready`.

        Args:
            batch: As for `run`.
            together: Whether clips may pass side by side; None takes them one by one where the model as it stands
                lets a clip's neighbours count.
        """
        if together is None:
            together = not depends_on_padding(self.model.config)
        with torch.no_grad():
            if together:
                return self._states(batch)
            lengths = batch["attention_mask"].sum(dim=1).tolist()
            alone = (
                {name: tensor[clip : clip + 1, :length] for name, tensor in batch.items()}
                for clip, length in enumerate(lengths)
            )
            return [state for one in alone for state in self._states(one)]

    def _states(self, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        if self.stage == POOLED:
            return list(self.model(**batch).logits)
        if self.stage == POOLED_LAYERS:
            hidden = torch.stack(self._base(**batch, output_hidden_states=True).hidden_states, dim=1)
            return [
                states[:, :frames].mean(dim=1)
                for states, frames in zip(hidden, self._valid(batch, hidden.shape[2]), strict=True)
            ]
        if self.stage == FEATURES:
            states = self._base.feature_extractor(batch["input_values"]).transpose(1, 2)
        else:
            states = self._base(**batch).last_hidden_state
        return [clip[:frames] for clip, frames in zip(states, self._valid(batch, states.shape[1]), strict=True)]

    def _valid(self, batch: Mapping[str, torch.Tensor], frames: int) -> list[int]:
        if "attention_mask" not in batch:
            return [frames] * len(next(iter(batch.values())))
        return [self._frames(samples) for samples in batch["attention_mask"].sum(dim=1).tolist()]

    def mode(self) -> None:
        """Put what is frozen into evaluation mode, after the model was put into training mode."""
        frozen: list[nn.Module] = [*self._below]
        if self._architecture.raw_waveform:
            frozen.append(self._base.feature_extractor)
        if self.stage == HIDDEN and self._architecture.raw_waveform:
            frozen += [self._base.feature_projection, self._encoder.pos_conv_embed]
        for module in frozen:
            module.eval()

    def logits(self, model: Any, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the logits `(batch, labels)` of the rest of the model.

        Args:
            model: The adapted model around this one.
            states: `(batch, ...)` what `run` returned, padded with zeros.
            mask: `(batch, samples)` of the clips' samples; None where there is none.
        """
        if self.stage == POOLED_LAYERS:
            weights = nn.functional.softmax(self.model.layer_weights, dim=-1)
            return head_logits(model, (states * weights.view(1, -1, 1)).sum(dim=1))
        if self.stage == POOLED:
            return head_logits(model, states)
        if self.stage == FEATURES:
            stand_ins: list[_StandIn] = [(self._base.feature_extractor, "forward", lambda kept: kept.transpose(1, 2))]
        else:
            stand_ins = self._upper(states)
        inputs = {"input_values": states, "attention_mask": mask}
        if not self._architecture.raw_waveform:
            frames = 2 * self.model.config.max_source_positions
            inputs = {"input_features": states.new_zeros(len(states), 1, frames)}
        with _standing_in(stand_ins):
            logits: torch.Tensor = model(**inputs).logits
        return logits

    def _upper(self, states: torch.Tensor) -> list[_StandIn]:
        """Return what makes all below the upper layers hand the states to them: nothing there is computed."""
        stand_ins = [(layer, "forward", _pass_on(layer)) for layer in self._below]
        zeros = states.new_zeros(()).expand(states.shape)
        if not self._architecture.raw_waveform:
            half = states.new_zeros(len(states), 1, states.shape[1])
            return [
                (self._encoder.conv1, "forward", lambda kept: kept),
                (self._encoder.conv2, "forward", lambda kept: half),
                *stand_ins,
                (self._below[-1], "forward", lambda hidden, *arguments, **options: states),
            ]
        projected: Any = zeros.clone()
        if self._architecture.model_type != "hubert":
            projected = (projected, zeros)
        return [
            (self._base.feature_extractor, "forward", lambda kept: kept.transpose(1, 2)),
            (self._base.feature_projection, "forward", lambda kept: projected),
            (self._base, "_mask_hidden_states", lambda hidden, **options: hidden),
            (self._encoder.pos_conv_embed, "forward", lambda hidden: hidden),
            # The last step before the layers, whichever of them LayerDrop leaves out.
            (self._encoder.dropout, "forward", lambda hidden: states),
            *stand_ins,
        ]


_StandIn = tuple[Any, str, Callable[..., Any]]


@contextmanager
def _standing_in(stand_ins: Sequence[_StandIn]) -> Iterator[None]:
    """Let functions stand in for methods of single objects; of several for one method, the last."""
    before = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in stand_ins]
    for owner, name, function in stand_ins:
        object.__setattr__(owner, name, function)
    try:
        yield
    finally:
        for owner, name, own in reversed(before):
            if own is None:
                owner.__dict__.pop(name, None)
            else:
                object.__setattr__(owner, name, own)


def _pass_on(layer: Any) -> Callable[..., Any]:
    """Return a function that hands a transformer layer's input on, in the form in which the layer would."""
    attention: Any = getattr(layer, "attention", None)
    if not hasattr(attention, "gru_rel_pos_linear"):
        return lambda hidden, *arguments, **options: hidden

    def pass_on(hidden: torch.Tensor, position_bias: torch.Tensor | None = None, **options: Any) -> Any:
        """WavLM's first layer makes the position bias of all."""
        if position_bias is None:
            frames = hidden.shape[1]
            bias = attention.compute_bias(frames, frames)
            position_bias = bias.unsqueeze(0).repeat(len(hidden), 1, 1, 1).view(-1, frames, frames)
        return hidden, position_bias

    return pass_on


class PrefixedModel(nn.Module):
    """An adapted model that takes what its frozen part made of clips, or the clips themselves.

    Args:
        model: The adapted model; its parameters train in place.
        prefix: Its frozen part.

    Attributes:
        model: The adapted model.
        prefix: Its frozen part.
    """

    accepts_loss_kwargs = False
    prefix: Prefix
    model: Any

    def __init__(self, model: Any, prefix: Prefix) -> None:
        super().__init__()
        # Not a submodule: its modules are the model's own.
        object.__setattr__(self, "prefix", prefix)
        if not prefix.is_pooled:
            self.model = model
            return
        # The head alone, since whoever trains this walks over all modules several times a step, which would take
        # longer than the step.
        object.__setattr__(self, "model", model.eval())
        base = plain_model(model)
        self.projector, self.classifier = base.projector, base.classifier
        if prefix.stage == POOLED_LAYERS:
            self.layer_weights = base.layer_weights

    @property
    def config(self) -> Any:
        """The configuration of the model inside."""
        return self.model.config

    def train(self, mode: bool = True) -> PrefixedModel:
        """Switch what trains to training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.prefix.is_pooled:
            if self.model.training:
                self.model.eval()
                super().train(mode)
        else:
            self.prefix.mode()
        return self

    def activation_checkpointing_enable(self, *arguments: Any, **options: Any) -> None:
        """Hand the request on to the model inside."""
        self.model.activation_checkpointing_enable(*arguments, **options)

    def gradient_checkpointing_enable(self, *arguments: Any, **options: Any) -> None:
        """Hand the request on to the model inside."""
        self.model.gradient_checkpointing_enable(*arguments, **options)

    def forward(
        self,
        states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **audio: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return `logits` `(batch, labels)` and, given labels, the mean cross-entropy `loss`.

        Args:
            states: `(batch, ...)` what the frozen part made of the clips, padded with zeros; None runs it now.
            attention_mask: `(batch, samples)` of the clips' samples.
            labels: `(batch,)`.
            **audio: `input_values` or `input_features`, where there are no states.
        """
        prefix = self.prefix
        if states is None:
            if attention_mask is not None:
                audio["attention_mask"] = attention_mask
            states = nn.utils.rnn.pad_sequence(prefix.run(audio), batch_first=True)
        logits = prefix.logits(self.model, states, attention_mask)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def unwrapped(model: Any) -> Any:
    """Return the adapted model inside a `PrefixedModel`, or the model itself."""
    return model.model if isinstance(model, PrefixedModel) else model
