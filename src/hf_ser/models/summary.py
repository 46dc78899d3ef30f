"""A model's layers, shapes and parameters, and what each recipe trains: the paper's Table 1 for any encoder.

The model is built on PyTorch's meta device, where tensors have shapes but no values, and hooks record one forward
pass. So only the configuration is downloaded, and every number is the model's own.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hf_ser.audio.collate import minimum_samples
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.adapting import adapt
from hf_ser.models.architectures import architecture_of
from hf_ser.models.encoders import open_config
from hf_ser.models.loading import quiet_loading
from hf_ser.models.recipes import RECIPES, Recipe
from hf_ser.models.recipes import recipe as find_recipe
from hf_ser.text import aligned

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Shape = tuple[int, ...]
Shapes = dict[nn.Module, tuple[Shape, Shape]]

_TITLES: Mapping[str, str] = {
    "feature_extractor": "feature encoder",
    "conv_layers": "convolution",
    "pos_conv_embed": "positional convolution",
    "embed_positions": "position embeddings",
    "conv1": "convolution 0",
    "conv2": "convolution 1",
    "layers": "encoder layer",
    "masked_spec_embed": "mask embedding",
}


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One row of the table; shapes are those of the forward pass, None for what it does not call.

    `module` is the class (empty for bare parameters and for pooling), `depth` 0 for a part of the model and 1 for a
    layer within it, `parameters` the number in one of the `repeats` equal layers that the row stands for.
    """

    name: str
    module: str
    depth: int
    input_shape: Shape | None
    output_shape: Shape | None
    parameters: int
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """Layers, shapes and parameters of a model.

    Attributes:
        architecture: Class of the model.
        labels: Number of labels.
        input_shape: `(1, samples)`, or `(1, mels, frames)` for Whisper.
        layers: The rows; those of depth 0 add up to `parameters`.
        parameters: Number of parameters of the model, head included.
        trainable: Number of trainable parameters by recipe.
        refused: The reason why a recipe does not fit the encoder, by recipe.
    """

    architecture: str
    labels: int
    input_shape: Shape
    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values, tuples as lists."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    def render(self) -> str:
        """Return the summary as aligned plain text."""
        rows = [["layer", "module", "input", "output", "parameters"]]
        for layer in self.layers:
            shapes = ["-" if shape is None else str(list(shape)) for shape in (layer.input_shape, layer.output_shape)]
            rows.append(["  " * layer.depth + layer.name, layer.module, *shapes, f"{layer.parameters:,}"])
        rows.append(["total", self.architecture, "", "", f"{self.parameters:,}"])
        blocks = [aligned(rows, right=(4,))]
        if self.trainable:
            trained = [["recipe", "trains", "share of total"]]
            for name, number in self.trainable.items():
                trained.append([name, f"{number:,}", f"{100 * number / self.parameters:.3f} %"])
            blocks.append(aligned(trained))
        blocks += self.refused.values()
        return "\n\n".join(blocks)


def summarize(
    model: PretrainedConfig | PreTrainedModel | Path | str, labels: int | None = None, input_samples: int = 16_000
) -> ModelSummary:
    """Return the layers, shapes and parameters of an encoder with its classification head.

    Args:
        model: A configuration, a folder with a `config.json`, a Hub id, or a model, which is not changed.
        labels: Number of labels; by default 8, or the model's own.
        input_samples: Length of the input in samples at 16 kHz. Whisper always takes 30 seconds.

    Raises:
        InputError: The configuration cannot be read or used, or the input is shorter than one frame.

    Example:
        >>> from transformers import HubertConfig
        >>> f"{summarize(HubertConfig()).parameters:,}"
        '94,570,632'
    """
    built = _build(_configuration(model, labels))
    input_shape, shapes = _shapes(built, input_samples)
    layers = tuple(_layers(built, shapes))
    return ModelSummary(type(built).__name__, built.config.num_labels, input_shape, layers, built.num_parameters())


def summarize_recipes(
    model: PretrainedConfig | PreTrainedModel | Path | str,
    labels: int | None = None,
    recipe: str | Recipe | None = None,
    input_samples: int = 16_000,
) -> ModelSummary:
    """Return the summary together with the number of parameters that each recipe trains.

    Without `recipe`, that is all of `RECIPES`; those that do not fit the encoder are under `refused`.
    """
    config = _configuration(model, labels)
    trainable: dict[str, int] = {}
    refused: dict[str, str] = {}
    for entry in RECIPES.values() if recipe is None else [find_recipe(recipe)]:
        settings = copy.deepcopy(config)
        for name, value in entry.settings.items():
            if not hasattr(settings, name):
                raise InputError(f"recipe '{entry.name}' sets '{name}', which {config.model_type} does not have")
            setattr(settings, name, value)
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                trainable[entry.name] = adapt(_build(settings), entry).num_parameters(only_trainable=True)
        except InputError as error:
            if recipe is not None:
                raise
            refused[entry.name] = str(error)
    return replace(summarize(config, config.num_labels, input_samples), trainable=trainable, refused=refused)


def _configuration(model: Any, labels: int | None) -> PretrainedConfig:
    """Return a copy of the configuration, which has the number of labels; of a model, its own by default."""
    own = getattr(model, "config", None)
    config = open_config(str(model)) if isinstance(model, str | Path) else copy.deepcopy(own or model)
    if labels is None:
        labels = own.num_labels if own else len(EMOTIONS)
    if labels < 1:
        raise InputError(f"labels is {labels}; a classifier needs at least 1")
    architecture_of(config)
    config.num_labels = labels
    return config


def _build(config: PretrainedConfig) -> Any:
    from transformers import AutoModelForAudioClassification

    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), quiet_loading():
            # Eager attention and float32 run on the meta device whatever the checkpoint asks for.
            built = AutoModelForAudioClassification.from_config(
                config, attn_implementation="eager", dtype=torch.float32
            )
    except ValueError as error:
        raise InputError(
            f"a {config.model_type} classifier cannot be built from this configuration: {str(error).splitlines()[0]}; "
            "change the configuration or choose another encoder"
        ) from error
    return built.eval()


def _shapes(model: Any, input_samples: int) -> tuple[Shape, Shapes]:
    """Run a forward pass; return the input's shape and each called module's (input shape, output shape)."""
    shapes: Shapes = {}

    def note(module: nn.Module, arguments: Any, named: Any, output: Any) -> None:
        given, returned = (_first_tensor(values) for values in ((*arguments, *named.values()), output))
        if given is not None and returned is not None:
            shapes[module] = (tuple(given.shape), tuple(returned.shape))

    if architecture_of(model.config).raw_waveform:
        if input_samples < minimum_samples(model.config, training=False):
            raise InputError(f"input_samples is {input_samples}, less than one frame of the encoder; use 16000")
        shape: Shape = (1, input_samples)
    else:
        # The two convolutions stride by 1 and 2.
        shape = (1, model.config.num_mel_bins, 2 * model.config.max_source_positions)
    handles = [module.register_forward_hook(note, with_kwargs=True) for module in model.modules()]
    try:
        with torch.no_grad():
            model(torch.empty(shape, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return shape, shapes


def _first_tensor(values: Any) -> torch.Tensor | None:
    if isinstance(values, torch.Tensor):
        return values
    found = values.values() if isinstance(values, Mapping) else values
    return next((value for value in found if isinstance(value, torch.Tensor)), None)


def _layers(model: Any, shapes: Shapes) -> Iterator[LayerSummary]:
    base = architecture_of(model.config).layers.split(".")[0]
    trunk = model.get_submodule(base)
    # Whisper's classification model has the encoder itself, the others a model with parts.
    for name, part in [(base, trunk)] if hasattr(trunk, "layers") else trunk.named_children():
        yield _row(name, [part], shapes, depth=0)
        for inner, child in part.named_children() if name in ("feature_extractor", "encoder") else ():
            yield from _inner(inner, child, shapes)
    for name, parameter in (*model.named_parameters(recurse=False), *trunk.named_parameters(recurse=False)):
        yield LayerSummary(_title(name), "", 0, None, None, parameter.numel())
    for name, module in model.named_children():
        if name == "classifier":
            yield LayerSummary("mean pooling", "", 0, shapes[model.projector][1], shapes[module][0], 0)
        if name != base:
            yield _row(name, [module], shapes, depth=0)


def _inner(name: str, child: nn.Module, shapes: Shapes) -> Iterator[LayerSummary]:
    """Yield a row for each run of equal layers in a list, or one for a layer by itself."""
    if not isinstance(child, nn.ModuleList):
        if next(child.parameters(), None) is not None:
            yield _row(name, [child], shapes, depth=1)
        return
    first = 0
    # Convolutions with other kernels may have as many parameters.
    for _, alike in itertools.groupby(
        child, lambda layer: (type(layer), [value.shape for value in layer.parameters()])
    ):
        group = list(alike)
        yield _row(name, group, shapes, depth=1, first=first)
        first += len(group)


def _row(
    name: str, group: Sequence[nn.Module], shapes: Shapes, *, depth: int, first: int | None = None
) -> LayerSummary:
    called = [shapes[module] for module in group if module in shapes]
    title = _title(name)
    each = len(group) > 1 and len(set(called)) == 1
    if first is not None:
        last = first + len(group) - 1
        title = f"{title} {first}" if first == last else f"{title}s {first}-{last}"
    counted = group[:1] if each else group
    return LayerSummary(
        name=f"{title} (each)" if each else title,
        module=type(group[0]).__name__,
        depth=depth,
        input_shape=called[0][0] if called else None,
        output_shape=called[-1][1] if called else None,
        parameters=sum(parameter.numel() for module in counted for parameter in module.parameters()),
        repeats=len(group) if each else 1,
    )


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))
