"""Cards as the Hub reads them: front matter, its validation, and the tags that the search uses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
# The licences of the Hub's list that the tests of this project use.
_LICENSES = {"apache-2.0", "mit", "openrail", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "odbl", "unknown"}
_LICENSES |= {"cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "other"}
_COLOURS = {"blue", "gray", "green", "indigo", "pink", "purple", "red", "yellow"}


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


_ID = _matches(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Fields that hold one string or several.
_VALID: Mapping[str, Callable[[str], bool]] = {
    "license": _LICENSES.__contains__,
    "language": _matches(r"[a-z]{2,3}(-[A-Za-z]{2,4})?|multilingual|code"),
    "base_model": _ID,
    "datasets": _ID,
    "base_model_relation": {"adapter", "finetune", "merge", "quantized"}.__contains__,
    "size_categories": _matches("n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M"),
    "sdk": {"docker", "gradio", "static", "streamlit"}.__contains__,
    "colorFrom": _COLOURS.__contains__,
    "colorTo": _COLOURS.__contains__,
    "short_description": _matches(".{,60}"),
}
_LISTS = ("tags", "metrics", "task_categories")


def front_matter(text: str) -> dict[str, Any] | None:
    """Return the front matter of a card, None if there is none.

    Raises:
        ValueError: If it is not a YAML mapping.
    """
    match = _FRONT_MATTER.match(text)
    try:
        data = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise ValueError(f"YAML does not parse: {' '.join(str(error).split())}") from error
    if data is not None and not isinstance(data, dict):
        raise ValueError("the front matter is not a mapping of names to values")
    return None if data is None else json.loads(json.dumps(data, default=str))


def validate(text: str, kind: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings for a card.

    The source of the public validator is not available: the rules are taken from its documentation.
    """
    try:
        data = front_matter(text)
    except ValueError as error:
        return [str(error)], []
    if data is None:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = [
        f'"{name}" with value {json.dumps(value)} is not valid'
        for name, valid in _VALID.items()
        for value in _many(data.get(name, []))
        if not (isinstance(value, str) and valid(value))
    ]
    errors += [f'"{name}" must be an array' for name in _LISTS if not isinstance(data.get(name, []), list)]
    required = ["sdk"] if kind == "space" else []
    required += [f"configs.{number}.config_name" for number in range(len(data.get("configs", [])))]
    for number, model in enumerate(data.get("model-index", [])):
        required += [f"model-index.{number}.{name}" for name in ("name", "results")]
        for place, result in enumerate(model.get("results", [])):
            at = f"model-index.{number}.results.{place}"
            required += [f"{at}.{name}" for name in ("task.type", "dataset.type", "dataset.name", "metrics.0")]
            for index in range(len(result.get("metrics", []))):
                required += [f"{at}.metrics.{index}.{name}" for name in ("type", "value")]
    errors += [f'"{path}" is required' for path in required if _get(data, path) in (None, "")]
    warnings = [] if data.get("license") != "other" or "license_name" in data else ['"license_name" is missing']
    return errors, warnings


def _get(data: Any, path: str) -> Any:
    """Return the value at a path such as `model-index.0.name`, None if there is none."""
    for name in path.split("."):
        try:
            data = data[int(name) if isinstance(data, list) else name]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return data


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
