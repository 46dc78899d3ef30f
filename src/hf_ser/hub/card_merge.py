"""A card that a human edited, and the card as it is generated now: both survive."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from hf_ser.hub.card_yaml import key_of, read_front_matter, same, split_card, write_front_matter
from hf_ser.hub.line_merge import matching_blocks, merge_lines

__all__ = ["GENERATED_CARD", "merge_card"]

GENERATED_CARD: Final = ".hf_ser/generated_card.md"
"""Where a repository keeps the card exactly as it was generated last: the base of the next merge."""

_LISTS: Final = frozenset({"datasets", "language", "metrics", "tags"})
"""Keys whose one value stands for a list of one."""

_INDEX: Final = "model-index"
_MISSING: Final = object()


def merge_card(ours: str, theirs: str | None, base: str | None, *, owned: Collection[str] = ()) -> str:
    r"""Merge the card generated now into the card that lies in a repository.

    The text is merged by lines (see `merge_lines`), the front matter by keys: what a human added, changed or removed
    since `base` stays so; lists are merged by their entries; results in the model index that were generated
    are always the ones of now, and all others stay.

    Args:
        ours: The card generated now.
        theirs: The card that lies there; None where there is none.
        base: The card as it was generated last time; None where it is not known, so that everything in `theirs` is
            a human's.
        owned: Keys of the front matter that are always as in `ours`.

    Returns:
        The merged card, with the line ends of `theirs`.

    Raises:
        InputError: The front matter of `theirs` cannot be read.

    Example:
        >>> base = "---\nlicense: mit\n---\n# Model\n\nUAR 60\n"
        >>> theirs = "---\nlicense: mit\ntags: [mine]\n---\n# Model\n\nUAR 60\n\nCall me.\n"
        >>> print(merge_card(base.replace("60", "61"), theirs, base), end="")
        ---
        license: mit
        tags: [mine]
        ---
        # Model
        <BLANKLINE>
        UAR 61
        <BLANKLINE>
        Call me.
    """
    if theirs is None or theirs == base or not theirs.removeprefix("\ufeff").strip():
        return ours
    (our_front, our_body), (their_front, their_body) = split_card(ours), split_card(theirs)
    base_front, base_body = split_card(base) if base is not None else (None, None)
    front = _front(our_front, their_front, base_front, owned)
    body = _body(our_body, their_body, base_body)
    text = f"---\n{front}\n---\n{body}" if front else body
    return text.replace("\n", "\r\n") if theirs.count("\r\n") * 2 > theirs.count("\n") else text


# --- text ---


def _body(ours: str, theirs: str, base: str | None) -> str:
    if ours == base:
        return theirs
    our_lines, their_lines = (text.strip("\n").split("\n") for text in (ours, theirs))
    base_lines = _shared(our_lines, their_lines) if base is None else base.strip("\n").split("\n")
    if base_lines is None:
        merged = [*their_lines, "", *our_lines] if theirs.strip() else our_lines
    else:
        merged = merge_lines(our_lines, their_lines, base_lines)
    opening = "\n" if theirs.startswith("\n") or (not theirs.strip() and ours.startswith("\n")) else ""
    return opening + "\n".join(merged).strip("\n") + "\n"


def _shared(ours: list[str], theirs: list[str]) -> list[str] | None:
    """Return what two texts share where the one was made of the other; None for texts of two origins.

    A card of this library whose base was deleted is recognised, lest all of it is there twice.
    """
    blocks = matching_blocks(theirs, ours)
    shared = [line for block in blocks for line in ours[block.b : block.b + block.size]]
    said = sum(bool(line.strip()) for line in ours)
    return shared if 2 * sum(bool(line.strip()) for line in shared) > said else None


# --- front matter ---


def _front(ours: str | None, theirs: str | None, base: str | None, owned: Collection[str]) -> str:
    mine, human = read_front_matter(ours), read_front_matter(theirs)
    if not human:
        # Without front matter the Hub finds nothing: that it was removed is no edit to keep.
        return ours or ""
    try:
        old = read_front_matter(base)
    except ValueError:
        old = {}
    merged: dict[Any, Any] = {}
    for key in _order(mine, human):
        value = _value(key, *(found.get(key, _MISSING) for found in (mine, human, old)), owned=owned)
        if value is not _MISSING:
            merged[key] = value
    return write_front_matter(merged, theirs, ours)


def _order(mine: Mapping[Any, Any], human: Mapping[Any, Any]) -> list[Any]:
    """Return all keys: the human's in their order, each new one behind the one that it follows in ours."""
    keys = list(human)
    before = 0
    for key in mine:
        if key not in human:
            keys.insert(before, key)
        before = keys.index(key) + 1
    return keys


def _value(key: Any, mine: Any, human: Any, old: Any, *, owned: Collection[str]) -> Any:
    if key in owned:
        return mine
    if key == _INDEX and isinstance(human, list):
        return _model_index(*([] if found is _MISSING else found for found in (mine, human, old))) or _MISSING
    return _three_way(mine, human, old, lift=key in _LISTS)


def _three_way(mine: Any, human: Any, old: Any, *, lift: bool = False) -> Any:
    if _same(human, old) or _same(human, mine):
        return mine
    if _same(mine, old):
        return human
    if human is _MISSING:
        # Removed by a human, or new.
        return mine if old is _MISSING else _MISSING
    if mine is _MISSING:
        # Nobody generates it any more; of what a human made of it, the human's part stays.
        return _entries([], human, old) or _MISSING if isinstance(human, list) else human
    if isinstance(human, dict) and isinstance(mine, dict):
        before = old if isinstance(old, dict) else {}
        merged = {
            key: _three_way(*(found.get(key, _MISSING) for found in (mine, human, before)))
            for key in _order(mine, human)
        }
        return {key: value for key, value in merged.items() if value is not _MISSING}
    if lift or isinstance(human, list) or isinstance(mine, list):
        found = _entries(mine, human, old)
        return found[0] if len(found) == 1 and not isinstance(human, list) else found
    return human


def _same(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return same(one, other)


def _entries(mine: Any, human: Any, old: Any) -> list[Any]:
    """Merge lists by their entries: the human's in their order, then those that are new in ours."""
    generated, edited, before = (
        {key_of(entry): entry for entry in ([] if value is _MISSING or value is None else _listed(value))}
        for value in (mine, human, old)
    )
    kept = [entry for key, entry in edited.items() if key in generated or key not in before]
    return kept + [entry for key, entry in generated.items() if key not in edited and key not in before]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- model index ---


def _model_index(mine: Any, human: list[Any], old: Any) -> list[Any]:
    """Merge the results of models: the generated ones are those of now, all others stay."""
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
        return [*_listed(mine), *human]
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


def _models(index: Any) -> list[dict[str, Any]]:
    return [model for model in _listed(index) if _is_model(model)]


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
