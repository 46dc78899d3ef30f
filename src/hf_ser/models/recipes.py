"""The three recipes of the paper: what trains, with which adapter, at which learning rates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_ser.errors import InputError
from hf_ser.models.architectures import HEAD, PARTS

_HEAD_STARTS = ("logistic_regression", "checkpoint", "noise")
_MERGED = ("lora", "learning_rate_scale", "encoder_settings")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to fine-tune an encoder, declared in full. Lists, as JSON has them, become tuples.

    Attributes:
        name: Such as `full`, `lora_qkv` or `lora_classifier`.
        summary: One sentence on it.
        trains: The parts of the base model (see `hf_ser.models.encoders.PARTS`) that train.
        lora: Arguments of `peft.LoraConfig`; empty for a recipe without an adapter.
        learning_rate: Learning rate of `TrainingArguments`.
        learning_rate_scale: Factor on the learning rate by part, 1 by default. LoRA weights count as the part that
            they adapt.
        epochs: Passes over the training clips.
        batch_size: Clips per step, accumulation included.
        warmup: Share of the steps over which the learning rate rises.
        weight_decay: Decoupled weight decay (AdamW).
        segment_seconds: Longer clips are cut into segments of this length, whose scores are averaged.
        patience: Evaluations without a better validation UAR after which training stops; None never stops early.
        normalize_features: Whether the pooled features are standardised by their statistics over the training
            clips; this is folded into the projector when the model is saved.
        head_start: `logistic_regression` fits a new head to the pooled features of the training clips, and reuses an
            existing head whose labels match by name; `checkpoint` leaves the head as it was opened; `noise`
            initialises projector and classifier as `transformers` does.
        head_dropout: Dropout probability on the pooled features, in training.
        balance_labels: Whether the loss weighs each label by the inverse of its share of the training clips, as
            UAR does; otherwise rare labels (calm: 1 clip in 70) are learned last.
        freeze_feature_encoder: Keeps the convolutional feature encoder as it is, even if `trains` names it.
        trained_layers: Number of the upper transformer layers that train; everything below them is frozen, whatever
            `trains` says. None trains what `trains` says.
        encoder_settings: Fields of the encoder's configuration to set, such as `hidden_dropout`,
            `attention_dropout`, `layerdrop`, `mask_time_prob` or `use_weighted_layer_sum`.

    Example:
        >>> recipe("full", freeze_feature_encoder=True).freeze_feature_encoder
        True
    """

    name: str
    summary: str
    trains: tuple[str, ...]
    lora: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-4
    learning_rate_scale: Mapping[str, float] = field(default_factory=dict)
    epochs: float = 10
    batch_size: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.01
    segment_seconds: float = 10.0
    patience: int | None = 5
    normalize_features: bool = True
    head_start: str = "logistic_regression"
    head_dropout: float = 0.0
    balance_labels: bool = False
    freeze_feature_encoder: bool = False
    trained_layers: int | None = None
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn lists into tuples and refuse values that cannot be meant."""
        lora = {key: tuple(value) if isinstance(value, list) else value for key, value in self.lora.items()}
        object.__setattr__(self, "trains", tuple(self.trains))
        object.__setattr__(self, "lora", lora)
        _check_lora(self.name, lora)
        if self.head_start not in _HEAD_STARTS:
            raise InputError(f"head_start '{self.head_start}' is unknown; choose {', '.join(_HEAD_STARTS)}")
        if not 0.0 <= self.head_dropout < 1.0:
            raise InputError(f"head_dropout {self.head_dropout} is outside [0, 1)")
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

    @property
    def trained_parts(self) -> tuple[str, ...]:
        """The parts whose own weights train, without those that are frozen."""
        frozen = {"feature_encoder"} if self.freeze_feature_encoder else set()
        if self.trained_layers is not None:
            frozen = {"feature_encoder", "feature_projection"}
        return tuple(part for part in self.trains if part not in frozen)

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether nothing before the head trains, so that each clip is encoded only once."""
        return not set(self.trains) - {"head", "layer_weights"} and set(self.lora.get("target_modules", ())) <= set(
            HEAD
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the declaration as JSON-ready values."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=str))
        return values


def _check_lora(name: str, lora: Mapping[str, Any]) -> None:
    if lora and isinstance(lora.get("target_modules", ""), str):
        raise InputError(f"recipe '{name}': target_modules of lora must be a list of module names")
    if set(lora) <= {"r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save"}:
        # The built-in recipes have no other fields, and importing peft takes seconds.
        return
    from peft import LoraConfig

    known = {entry.name for entry in dataclasses.fields(LoraConfig)}
    if unknown := sorted(set(lora) - known):
        raise InputError(f"recipe '{name}': lora has no field '{unknown[0]}'; peft.LoraConfig lists them")


_LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0}

RECIPES: dict[str, Recipe] = {
    built_in.name: built_in
    for built_in in (
        Recipe(
            name="full",
            summary="Everything trains, the convolutional feature encoder too.",
            trains=PARTS,
            learning_rate=1e-4,
            learning_rate_scale={"feature_encoder": 0.02, "feature_projection": 0.02, "encoder": 0.2},
        ),
        Recipe(
            name="lora_qkv",
            summary="LoRA on the query, key and value projections; the head trains and is saved with the adapter.",
            trains=("head",),
            lora={**_LORA, "target_modules": ("q_proj", "k_proj", "v_proj"), "modules_to_save": HEAD},
            learning_rate=5e-4,
            learning_rate_scale={"head": 0.2},
        ),
        Recipe(
            name="lora_classifier",
            summary="LoRA on the head's two layers; the encoder is frozen, and the head is saved with LoRA merged.",
            trains=(),
            lora={**_LORA, "target_modules": HEAD},
            learning_rate=3e-4,
            batch_size=64,
            head_dropout=0.3,
            balance_labels=True,
        ),
    )
}
"""The recipes by name."""


def register_recipe(new: Recipe) -> None:
    """Add a recipe, so that it can be named like those of this library.

    Raises:
        InputError: There is another recipe of that name.

    Example:
        >>> register_recipe(dataclasses.replace(recipe("full"), name="head", trains=("head",)))
        >>> recipe("head").encoder_is_frozen
        True
        >>> del RECIPES["head"]
    """
    if RECIPES.get(new.name, new) != new:
        raise InputError(f"there is another recipe '{new.name}'; choose another name")
    RECIPES[new.name] = new


def recipe(name: str | Recipe, **overrides: Any) -> Recipe:
    """Return a recipe by name, with some of its fields replaced.

    Mappings given for `lora`, `learning_rate_scale` and `encoder_settings` are merged into the recipe's own.

    Raises:
        InputError: The name, a field or a value is unknown.

    Example:
        >>> recipe("lora_qkv", lora={"r": 8}).lora["lora_alpha"]
        32
        >>> recipe("lora_kqv")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv, lora_classifier
    """
    if isinstance(name, str):
        if name not in RECIPES:
            raise InputError(f"recipe '{name}' is unknown; choose {', '.join(RECIPES)}")
        name = RECIPES[name]
    fields = [entry.name for entry in dataclasses.fields(Recipe)]
    for key, value in overrides.items():
        if key not in fields:
            raise InputError(f"recipe '{name.name}' has no field '{key}'; fields are {', '.join(sorted(fields))}")
        if key in _MERGED:
            if not isinstance(value, Mapping):
                raise InputError(f"recipe '{name.name}': {key} must be a mapping, not {value!r}")
            overrides[key] = {**getattr(name, key), **value} if value else {}
    return dataclasses.replace(name, **overrides)


def paper_recipe(name: str | Recipe, **overrides: Any) -> Recipe:
    """Return a recipe as the paper trains it: the stock head from noise, plain cross-entropy, Adam at 1e-5, 50 epochs.

    Args:
        name: A recipe or its name.
        **overrides: Fields to replace afterwards, as for `recipe`.

    Example:
        >>> paper = paper_recipe("lora_classifier")
        >>> paper.learning_rate, paper.epochs, paper.head_start
        (1e-05, 50, 'noise')
    """
    paper = dataclasses.replace(
        recipe(name),
        learning_rate=1e-5,
        learning_rate_scale={},
        epochs=50,
        warmup=0.0,
        weight_decay=0.0,
        patience=None,
        normalize_features=False,
        head_start="noise",
        head_dropout=0.0,
        balance_labels=False,
    )
    return recipe(paper, **overrides)
