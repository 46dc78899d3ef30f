"""The results of a card: those that are generated, and those that a human or another tool added."""

from collections.abc import Iterator, Mapping
from typing import Any

from hf_ser.hub.card_yaml import key_of

__all__ = ["merge_model_index"]


def merge_model_index(mine: list[Any], human: list[Any], old: list[Any]) -> list[Any]:
    """Merge the results of models: the generated ones are those of now, all others stay.

    A result is told by its task and its data set with configuration, split and revision, and in it a metric by its
    type, name and arguments.

    Args:
        mine: The model index generated now.
        human: The one that lies there.
        old: The one that was generated when `human` was last written.

    Example:
        >>> def index(*values):
        ...     result = {"task": {"type": "audio-classification"}, "dataset": {"type": "tess"}}
        ...     metrics = [{"type": name, "value": value} for name, value in values]
        ...     return [{"name": "ser", "results": [{**result, "metrics": metrics}]}]
        >>> index(("uar", 0.6), ("mine", 0.1)) == merge_model_index(
        ...     index(("uar", 0.6)), index(("uar", 0.5), ("old", 0.2), ("mine", 0.1)), index(("uar", 0.5), ("old", 0.2))
        ... )
        True
    """
    own = next(iter(_models(mine)), None)
    before = next(iter(_models(old)), None)
    names = {model.get("name") for model in (own, before) if model}
    generated = set(_figures(before)) if before else set()
    place = next((at for at, model in enumerate(human) if _is_model(model) and model.get("name") in names), None)
    if place is None:
        # Under another name, a model whose results were generated is still the same.
        shares = (at for at, model in enumerate(human) if _is_model(model) and generated & set(_figures(model)))
        place = next(shares, None)
    if place is None:
        return [*mine, *human]
    entry = human[place]
    results = _results(
        (own or {}).get("results") or [], entry.get("results") or [], (before or {}).get("results") or []
    )
    name = own["name"] if own and entry.get("name") == (before or own).get("name") else entry.get("name")
    changed = {**entry, **({"name": name} if name else {}), "results": results}
    kept = [changed] if results or own or not before else []
    return [*human[:place], *kept, *human[place + 1 :]]


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("results", []), list)


def _models(index: list[Any]) -> list[dict[str, Any]]:
    return [model for model in index if _is_model(model)]


def _results(mine: list[Any], human: list[Any], old: list[Any]) -> list[Any]:
    places = {_place(result): result for result in mine if isinstance(result, dict)}
    figures = {key for result in (*mine, *old) for key, _ in _metrics(result)}
    # A figure of ours under a new title is ours still: else it would stay when the figure changes.
    values = {(*key[:2], key[3], value) for result in old for key, value in _metrics(result)}
    merged, done = [], set()
    for result in human:
        if not isinstance(result, dict) or not isinstance(result.get("metrics"), list):
            merged.append(result)
            continue
        added = [
            metric
            for metric, (key, value) in zip(result["metrics"], _metrics(result), strict=True)
            if key not in figures and (*key[:2], key[3], value) not in values
        ]
        place = _place(result)
        own = places.get(place) if place not in done else None
        if own is not None:
            done.add(place)
            merged.append({**result, **own, "metrics": [*own["metrics"], *added]})
        elif added:
            merged.append({**result, "metrics": added})
    return merged + [result for place, result in places.items() if place not in done]


def _figures(model: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    return (key for result in model.get("results") or [] for key, _ in _metrics(result))


def _metrics(result: Any) -> list[tuple[tuple[str, ...], str]]:
    """Return what identifies each metric of a result (place, type, name, arguments), and its value."""
    metrics = result.get("metrics") if isinstance(result, dict) else None
    if not isinstance(metrics, list):
        return []
    found = []
    for metric in metrics:
        fields = metric if isinstance(metric, dict) else {"type": metric}
        key = (_place(result), *(key_of(fields.get(name)) for name in ("type", "name", "args")))
        found.append((key, key_of(fields.get("value"))))
    return found


def _place(result: Mapping[str, Any]) -> str:
    """Return what the Hub tells results apart by: the task, and the data set with its configuration and split."""
    task, dataset = (found if isinstance(found := result.get(part), dict) else {} for part in ("task", "dataset"))
    return key_of([task.get("type"), *(dataset.get(name) for name in ("type", "config", "split", "revision"))])
