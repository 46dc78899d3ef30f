"""What a recipe says: what trains, from which layers, with which adapter, at which learning rates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_ser.audio.collate import EVENING
from hf_ser.errors import InputError
from hf_ser.models.architectures import HEAD, PARTS

_HEAD_STARTS = ("logistic_regression", "checkpoint", "noise")
_LAYERS = ("last", "all", "best")
_NOT_PLAIN = ("mean_std", "attentive")
_MERGED = ("lora", "learning_rate_scale", "encoder_settings")

RECIPE_ARGUMENTS: Mapping[str, str] = {
    "learning_rate": "learning_rate",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "warmup": "warmup_steps",
    "weight_decay": "weight_decay",
    "label_smoothing": "label_smoothing_factor",
}
"""Fields of `TrainingArguments` by the field of a recipe that is their default."""

ADAPTERS = {"lora": ("LoraConfig", "lora_B"), "ia3": ("IA3Config", "ia3_l"),
            "ln_tuning": ("LNTuningConfig", "ln_tuning_layers")}  # fmt: skip
"""PEFT's methods by name: the class of the configuration, and a part of the names of the weights that train."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to fine-tune an encoder, declared in full. Lists, as JSON has them, become tuples.

    Attributes:
        name: Such as `full`, `lora_qkv` or `lora_classifier`.
        summary: One sentence on it.
        trains: The parts of the base model (see `hf_ser.models.encoders.PARTS`) that train.
        lora: Arguments of `peft.LoraConfig` (DoRA: `use_dora`; rsLoRA: `use_rslora`), or of the configuration of
            another `peft_type`; empty for a recipe without an adapter. Among `target_modules`, `layers` stands for all
            linear modules of the transformer layers that an adapter can train.
        peft_type: `lora`, `ia3` or `ln_tuning`.
        learning_rate: Learning rate of `TrainingArguments`.
        learning_rate_scale: Factor on the learning rate by part, 1 by default. LoRA weights count as the part that
            they adapt.
        layer_decay: Factor on the learning rate of each transformer layer from the last one down, and of everything
            below the first one once more.
        epochs: Passes over the training clips.
        batch_size: Clips per step, accumulation included.
        warmup: Share of the steps over which the learning rate rises.
        weight_decay: Decoupled weight decay (AdamW).
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.
        patience: Evaluations without a better validation UAR after which training stops; None never stops early.
        normalize_features: Whether the pooled features are standardised by their statistics over the training
            clips; this is folded into the projector when the model is saved.
        layers: What the head reads: `last`, the last layer, or the checkpoint's own weighted sum; `all`, the weighted
            sum over all layers, which starts as their mean, and whose weights train if `trains` names
            `layer_weights`; `best`, the mean of neighbouring layers, chosen by discriminant analyses on the
            validation clips.
        pooling: `mean`, what the heads of `transformers` do. `mean_std` and `attentive` are refused: no plain model
            could load them.
        trim_silence_db: Cuts both ends of each segment while they are so many decibels below its loudest frame. This is
            saved in the preprocessor's configuration, which `hf_ser` obeys and plain `transformers` ignores.
        level_db: Brings each segment to this root mean square, in decibels of full scale; saved likewise. A
            preprocessor with `do_normalize` does so anyway.
        head_start: `logistic_regression` fits a new head to the pooled features of the training clips, as strongly
            regularised as suits the validation clips, and reuses an existing head whose labels match by name;
            `checkpoint` leaves the head as it was opened; `noise` initialises projector and classifier as
            `transformers` does.
        head_dropout: Dropout probability on the pooled features, in training.
        balance_labels: Whether the loss, and the logistic regression, weigh each label by the inverse of its share of
            the training clips, as UAR does; otherwise rare labels (calm: 1 clip in 70) are learned last.
        label_scheme: `soft` trains on the shares of the listeners' votes where a clip has any (CREMA-D), `intended` on
            the label alone.
        logit_adjustment: The loss is of the logits plus so many times the logarithm of the labels' shares, so that the
            logits alone, at prediction, are those of balanced labels (Menon et al., ICLR 2021); 0 or 1.
        label_smoothing: Share of the target that is spread over all labels.
        mixup: Parameter of the Beta distribution by which two clips of a batch, and their labels, are mixed (Zhang et
            al., ICLR 2018); 0 mixes none.
        freeze_feature_encoder: Keeps the convolutional feature encoder as it is, even if `trains` names it.
        trained_layers: Number of the upper transformer layers that train; everything below them is frozen, whatever
            `trains` says. None trains what `trains` says.
        encoder_settings: Fields of the encoder's configuration to set, such as `hidden_dropout`,
            `attention_dropout`, `layerdrop`, `mask_time_prob` or `use_weighted_layer_sum`.
        stages: What differs in trainings that follow one another, each from the model of the one before, such as
            `[{"trains": ["head"]}, {}]`; adapters are merged after each, so that the result is a plain checkpoint.

    Example:
        >>> Recipe("frozen", "The head alone.", ("head",)).encoder_is_frozen
        True
    """

    name: str
    summary: str
    trains: tuple[str, ...]
    lora: Mapping[str, Any] = field(default_factory=dict)
    peft_type: str = "lora"
    learning_rate: float = 1e-4
    learning_rate_scale: Mapping[str, float] = field(default_factory=dict)
    layer_decay: float = 1.0
    epochs: float = 10
    batch_size: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.01
    segment_seconds: float = 10.0
    patience: int | None = 5
    normalize_features: bool = True
    layers: str = "last"
    pooling: str = "mean"
    trim_silence_db: float | None = None
    level_db: float | None = None
    head_start: str = "logistic_regression"
    head_dropout: float = 0.0
    balance_labels: bool = False
    label_scheme: str = "intended"
    logit_adjustment: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    freeze_feature_encoder: bool = False
    trained_layers: int | None = None
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)
    stages: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Turn lists into tuples and refuse values that cannot be meant."""
        lora = {key: tuple(value) if isinstance(value, list) else value for key, value in self.lora.items()}
        object.__setattr__(self, "trains", tuple(self.trains))
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "lora", lora)
        if self.pooling in _NOT_PLAIN:
            raise InputError(
                f"pooling '{self.pooling}' is not offered: transformers and peft could not load the model, whose heads "
                "take the mean; use mean, and layers: all or best"
            )
        for name, known in (
            ("pooling", ("mean",)),
            ("head_start", _HEAD_STARTS),
            ("layers", _LAYERS),
            ("peft_type", tuple(ADAPTERS)),
            ("label_scheme", ("intended", "soft")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} '{getattr(self, name)}' is unknown; choose {', '.join(known)}")
        _check_adapter(self.name, self.peft_type, lora)
        for name in ("head_dropout", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} {getattr(self, name)} is outside [0, 1)")
        for name in ("mixup", "logit_adjustment"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.trim_silence_db is not None and not self.trim_silence_db > 0:
            raise InputError(f"trim_silence_db is {self.trim_silence_db}; give decibels above 0, such as 40")
        if self.level_db is not None and not self.level_db < 0:
            raise InputError(f"level_db is {self.level_db}; give decibels of full scale below 0, such as -26")
        if not 0.0 < self.layer_decay <= 1.0:
            raise InputError(f"layer_decay {self.layer_decay} is outside (0, 1]")
        if not self.segment_seconds > 0:
            raise InputError(f"segment_seconds is {self.segment_seconds}; give a length above 0")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience is {self.patience}; give at least 1, or null to never stop early")
        if self.trained_layers is not None and (self.trained_layers < 1 or self.encoder_is_frozen):
            raise InputError(
                f"recipe '{self.name}' with trained_layers {self.trained_layers} trains no layer; "
                "give a number above 0, and a recipe that trains the encoder"
            )
        if unknown := sorted({*self.trains, *self.learning_rate_scale} - set(PARTS)):
            raise InputError(f"recipe '{self.name}' names the part '{unknown[0]}'; parts are {', '.join(PARTS)}")
        if self.stages and any({"name", "stages", "encoder_settings", "layers"} & {*stage} for stage in self.stages):
            raise InputError(f"recipe '{self.name}': name, layers, encoder_settings and stages are of the whole recipe")
        if self.stages:
            self.in_stages  # noqa: B018 - refuses what cannot be meant

    @property
    def trained_parts(self) -> tuple[str, ...]:
        """The parts whose own weights train, without those that are frozen."""
        frozen = {"feature_encoder"} if self.freeze_feature_encoder else set()
        if self.trained_layers is not None:
            frozen = {"feature_encoder", "feature_projection"}
        if self.layers == "best":
            frozen |= {"layer_weights"}
        return tuple(part for part in self.trains if part not in frozen)

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether nothing before the head trains, so that each clip is encoded only once."""
        return not set(self.trains) - {"head", "layer_weights"} and set(self.lora.get("target_modules", ())) <= set(
            HEAD
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the encoder's configuration that the recipe sets."""
        return {**({} if self.layers == "last" else {"use_weighted_layer_sum": True}), **self.encoder_settings}

    @property
    def preprocessing(self) -> dict[str, float]:
        """What the recipe changes of the clips, by field of the preprocessor's configuration."""
        return {name: value for name in EVENING if (value := getattr(self, name)) is not None}

    @property
    def in_stages(self) -> list[Recipe]:
        """The recipe of each stage; the recipe itself without stages."""
        alone = dataclasses.replace(self, stages=())
        return [alone.with_fields(**stage) for stage in self.stages] or [self]

    def with_fields(self, **overrides: Any) -> Recipe:
        """Return the recipe with some fields replaced; mappings are merged into its own, an empty one empties it."""
        fields = [entry.name for entry in dataclasses.fields(Recipe)]
        for key, value in overrides.items():
            if key not in fields:
                raise InputError(f"recipe '{self.name}' has no field '{key}'; fields are {', '.join(sorted(fields))}")
            if key in _MERGED:
                if not isinstance(value, Mapping):
                    raise InputError(f"recipe '{self.name}': {key} must be a mapping, not {value!r}")
                overrides[key] = {**getattr(self, key), **value} if value else {}
        return dataclasses.replace(self, **overrides)

    def as_dict(self) -> dict[str, Any]:
        """Return the declaration as JSON-ready values."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return values


def _check_adapter(name: str, peft_type: str, settings: Mapping[str, Any]) -> None:
    if settings and isinstance(settings.get("target_modules", ""), str):
        raise InputError(f"recipe '{name}': target_modules of lora must be a list of module names")
    if (
        set(settings) <= {"r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save"}
        and peft_type == "lora"
    ):
        # The built-in recipes have no other fields, and importing peft takes seconds.
        return
    import peft

    config = ADAPTERS[peft_type][0]
    known = {entry.name for entry in dataclasses.fields(getattr(peft, config))}
    if unknown := sorted(set(settings) - known):
        raise InputError(f"recipe '{name}': lora has no field '{unknown[0]}'; peft.{config} lists them")
