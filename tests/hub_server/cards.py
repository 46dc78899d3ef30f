"""Cards as the Hub reads them: front matter, its validation, and the tags that search works on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

from hub_server.vocabulary import COLOURS, LICENSES, RELATIONS, SDKS, SIZES, TASKS

Problems = list[str]
_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")


def front_matter(text: str) -> dict[str, Any] | None:
    """Return the front matter of a card, None where there is none.

    Raises:
        ValueError: If it is no YAML mapping.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return None
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"YAML does not parse: {' '.join(str(error).split())}") from error
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ValueError("the front matter is not a mapping of names to values")
    return json.loads(json.dumps(data, default=str))


def validate(text: str, kind: str) -> tuple[Problems, Problems]:
    """Return what is wrong with a card, and what is merely unusual.

    The public Hub publishes its documentation but not its validator: the rules are taken from the documentation.
    """
    errors: Problems = []
    warnings: Problems = []
    try:
        data = front_matter(text)
    except ValueError as error:
        return [str(error)], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    _validate_common(data, errors, warnings)
    {"model": _validate_model, "dataset": _validate_dataset, "space": _validate_space}[kind](data, errors, warnings)
    return errors, warnings


def _strings(data: Mapping[str, Any], name: str, errors: Problems, check: Callable[[str], bool], hint: str) -> None:
    """Check a field that holds one string or a list of them."""
    if name not in data:
        return
    values = data[name] if isinstance(data[name], list) else [data[name]]
    for value in values:
        if not isinstance(value, str):
            errors.append(f'"{name}" must be a string or a list of strings, not {json.dumps(value)}')
        elif not check(value):
            errors.append(f'"{name}" with value "{value}" is not valid. {hint}')


def _list(data: Mapping[str, Any], name: str, errors: Problems) -> None:
    value = data.get(name, [])
    if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        errors.append(f'"{name}" must be an array of strings')


def _choice(data: Mapping[str, Any], name: str, allowed: Collection[str], errors: Problems) -> None:
    if not (isinstance(data.get(name), str) and data[name] in allowed):
        errors.append(f'"{name}" must be one of {", ".join(sorted(allowed))}')


def _validate_common(data: dict[str, Any], errors: Problems, warnings: Problems) -> None:
    _strings(data, "license", errors, LICENSES.__contains__, "Use a license identifier of the Hub's documentation.")
    if data.get("license") == "other" and "license_name" not in data:
        warnings.append('"license_name" is missing beside the license "other"')
    _strings(
        data,
        "language",
        errors,
        lambda value: (
            bool(re.fullmatch(r"[a-z]{2,3}|multilingual|code", value))
            or bool(re.fullmatch(r"[a-z]{2,3}-[A-Za-z]{2,4}", value))
        ),
        "Use an ISO 639 code.",
    )
    _list(data, "tags", errors)


def _validate_model(data: dict[str, Any], errors: Problems, warnings: Problems) -> None:
    for name, where in (("base_model", "models"), ("datasets", "datasets")):
        _strings(
            data,
            name,
            errors,
            lambda value: bool(_REPOSITORY.fullmatch(value)),
            f"Use a {where[:-1]} id from https://hf.co/{where}.",
        )
    if "base_model_relation" in data:
        _choice(data, "base_model_relation", RELATIONS, errors)
    _list(data, "metrics", errors)
    for name in ("library_name", "pipeline_tag"):
        if not isinstance(data.get(name, ""), str):
            errors.append(f'"{name}" must be a string')
    if isinstance(tag := data.get("pipeline_tag"), str) and tag not in TASKS:
        warnings.append(f'The pipeline tag "{tag}" is not in the official list')
    emissions = data.get("co2_eq_emissions", 0)
    emissions = emissions.get("emissions") if isinstance(emissions, dict) else emissions
    if isinstance(emissions, bool) or not isinstance(emissions, int | float):
        errors.append('"co2_eq_emissions" must be a number of grams or hold one as "emissions"')
    if "model-index" in data:
        _validate_model_index(data["model-index"], errors)


def _validate_model_index(index: Any, errors: Problems) -> None:
    """Check the form of evaluation results: a task, a dataset and metrics for each."""
    if not (isinstance(index, list) and index):
        errors.append('"model-index" must be a non-empty array')
        return
    for number, model in enumerate(index):
        at = f"model-index[{number}]"
        if not isinstance(model, dict):
            errors.append(f'"{at}" must be an object')
            continue
        if not isinstance(model.get("name"), str) or not model["name"]:
            errors.append(f'"{at}.name" is required')
        if not isinstance(model.get("results"), list):
            errors.append(f'"{at}.results" must be an array')
            continue
        for place, result in enumerate(model["results"]):
            _validate_result(result, f"{at}.results[{place}]", errors)


def _validate_result(result: Any, at: str, errors: Problems) -> None:
    if not isinstance(result, dict):
        errors.append(f'"{at}" must be an object')
        return
    for part, names in (("task", ["type"]), ("dataset", ["type", "name"])):
        section = result.get(part)
        for name in names:
            if not (isinstance(section, dict) and isinstance(section.get(name), str) and section[name]):
                errors.append(f'"{at}.{part}.{name}" is required')
    metrics = result.get("metrics")
    if not (isinstance(metrics, list) and metrics):
        errors.append(f'"{at}.metrics" must be a non-empty array')
        return
    for number, metric in enumerate(metrics):
        for name in ("type", "value"):
            if not isinstance(metric, dict) or metric.get(name) is None:
                errors.append(f'"{at}.metrics[{number}].{name}" is required')


def _validate_dataset(data: dict[str, Any], errors: Problems, warnings: Problems) -> None:
    _strings(data, "size_categories", errors, SIZES.__contains__, f"Use one of {', '.join(sorted(SIZES))}.")
    tasks = data.get("task_categories", [])
    _list(data, "task_categories", errors)
    warnings += [
        f'The task_categories "{task}" is not in the official list'
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, str) and task not in TASKS
    ]
    configs = data.get("configs", [])
    if not isinstance(configs, list):
        errors.append('"configs" must be an array')
        return
    for number, config in enumerate(configs):
        if not (isinstance(config, dict) and isinstance(config.get("config_name"), str)):
            errors.append(f'"configs[{number}].config_name" is required')


def _validate_space(data: dict[str, Any], errors: Problems, warnings: Problems) -> None:
    del warnings
    for name, allowed in (("sdk", SDKS), ("colorFrom", COLOURS), ("colorTo", COLOURS)):
        if name in data or name == "sdk":
            _choice(data, name, allowed, errors)
    if len(str(data.get("short_description", ""))) > 60:
        errors.append('"short_description" must be at most 60 characters long')


def library(data: Mapping[str, Any], paths: set[str], config: Mapping[str, Any]) -> str | None:
    """Tell the library of a model: what its card says, else what its files give away."""
    if isinstance(data.get("library_name"), str):
        return data["library_name"]
    if "adapter_config.json" in paths:
        return "peft"
    return "transformers" if "model_type" in config else None


def task(data: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Tell the task of a model: what its card says, else what its architecture does."""
    if isinstance(data.get("pipeline_tag"), str):
        return data["pipeline_tag"]
    speech = config.get("model_type") in ("hubert", "wav2vec2", "wavlm", "whisper")
    classifies = any(
        name.endswith(("ForSequenceClassification", "ForAudioClassification"))
        for name in config.get("architectures") or []
    )
    return "audio-classification" if speech and classifies else None


def _many(value: Any) -> list[str]:
    return [str(item) for item in (value if isinstance(value, list) else [] if value is None else [value])]


def tags(kind: str, text: str, data: Mapping[str, Any], paths: set[str], config: Mapping[str, Any]) -> list[str]:
    """Return what the Hub's search finds a repository by: the card's own tags and those made of other fields."""
    found = _many(data.get("tags"))
    if kind == "model":
        found += _many(library(data, paths, config)) + _many(task(data, config)) + _many(config.get("model_type"))
        found += ["safetensors"] if any(path.endswith(".safetensors") for path in paths) else []
        found += ["model-index"] if data.get("model-index") else []
        found += [f"dataset:{name}" for name in _many(data.get("datasets"))]
        relation = data.get("base_model_relation") or ("adapter" if "adapter_config.json" in paths else "finetune")
        for name in _many(data.get("base_model")):
            found += [f"base_model:{name}", f"base_model:{relation}:{name}"]
        found += _many(data.get("language"))
    elif kind == "dataset":
        for name in ("task_categories", "task_ids", "language", "size_categories"):
            found += [f"{name}:{value}" for value in _many(data.get(name))]
        found += ["format:parquet", "library:datasets"] if any(path.endswith(".parquet") for path in paths) else []
    else:
        found += _many(data.get("sdk"))
    found += [f"license:{name}" for name in _many(data.get("license"))]
    found += [f"arxiv:{number}" for number in _ARXIV.findall(text)]
    return list(dict.fromkeys([*found, "region:us"]))
