"""The recipes of this library, and finding one by its name or in a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hf_ser.errors import InputError
from hf_ser.models.architectures import HEAD, PARTS
from hf_ser.models.recipe import Recipe

__all__ = ["PAPER_RECIPES", "RECIPES", "Recipe", "paper_recipe", "recipe", "register_recipe"]

_HEAD = Recipe(
    name="head",
    summary="The head trains on the last layer of the frozen encoder.",
    trains=("head",),
    learning_rate=1e-4,
    batch_size=64,
    head_dropout=0.3,
    balance_labels=True,
)
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
            balance_labels=True,
        ),
        Recipe(
            name="lora_qkv",
            summary="LoRA on the query, key and value projections; the head, on the mean over all layers, trains too.",
            trains=("head",),
            lora={**_LORA, "target_modules": ("q_proj", "k_proj", "v_proj"), "modules_to_save": HEAD},
            layers="all",
            learning_rate=5e-4,
            learning_rate_scale={"head": 0.2},
            balance_labels=True,
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
        _HEAD,
        dataclasses.replace(
            _HEAD,
            name="layers",
            summary="The head trains on the mean of the frozen encoder's layers that validation clips choose.",
            layers="best",
        ),
        Recipe(
            name="last_layers",
            summary="The last three transformer layers and the head train, on a sum over all layers.",
            trains=PARTS,
            trained_layers=3,
            layers="all",
            learning_rate=1e-4,
            learning_rate_scale={"encoder": 0.5, "layer_weights": 10.0},
            balance_labels=True,
        ),
        Recipe(
            name="lora_all",
            summary="LoRA on every linear module of the transformer layers; the head reads the mean over all layers.",
            trains=("head",),
            lora={**_LORA, "target_modules": ("layers",), "modules_to_save": HEAD},
            layers="all",
            learning_rate=5e-4,
            learning_rate_scale={"head": 0.2},
            balance_labels=True,
        ),
    )
}
"""The recipes by name: the paper's three, and what reads more layers or trains other parts."""

PAPER_RECIPES = ("full", "lora_qkv", "lora_classifier")


def register_recipe(new: Recipe) -> None:
    """Add a recipe, so that it can be named like those of this library.

    Raises:
        InputError: There is another recipe of that name.

    Example:
        >>> register_recipe(dataclasses.replace(recipe("full"), name="gentle", learning_rate=1e-5))
        >>> recipe("gentle").learning_rate
        1e-05
        >>> del RECIPES["gentle"]
    """
    if RECIPES.get(new.name, new) != new:
        raise InputError(f"there is another recipe '{new.name}'; choose another name")
    RECIPES[new.name] = new


def recipe(name: str | Recipe, **overrides: Any) -> Recipe:
    """Return a recipe by name or from a YAML or JSON file, with some of its fields replaced.

    A file holds the fields of a `Recipe`, and under `like`, if anything, the name of one that has the others. Mappings
    given for `lora`, `learning_rate_scale` and `encoder_settings` are merged into the recipe's own.

    Raises:
        InputError: The name, a field or a value is unknown, or the file cannot be read.

    Example:
        >>> recipe("lora_qkv", lora={"r": 8}).lora["lora_alpha"]
        32
        >>> recipe("lora_kqv")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv, lora_classifier, head, ...
    """
    if isinstance(name, str) and name.endswith((".yaml", ".yml", ".json")):
        name = _read(name)
    if isinstance(name, str):
        if name not in RECIPES:
            raise InputError(f"recipe '{name}' is unknown; choose {', '.join(RECIPES)}, or a YAML file")
        name = RECIPES[name]
    return name.with_fields(**overrides)


def _read(file: str) -> Recipe:
    import yaml

    try:
        values = dict(yaml.safe_load(Path(file).read_text(encoding="utf-8")))
        name, like = values.pop("name"), values.pop("like", None)
        start = recipe(like) if like else Recipe(name, values.get("summary", ""), values.get("trains", ()))
        return dataclasses.replace(recipe(start, **values), name=name)
    except OSError as error:
        raise InputError(
            f"recipe file '{file}' cannot be read: {error.strerror}; give a YAML file, or a name"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"recipe file '{file}' ({reason}): give name, summary and fields of hf_ser.Recipe, or like: NAME and some"
        ) from error


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
        layers="last",
        layer_decay=1.0,
        label_scheme="intended",
        label_smoothing=0.0,
        logit_adjustment=0.0,
        mixup=0.0,
        trim_silence_db=None,
        level_db=None,
    )
    return recipe(paper, **overrides)
