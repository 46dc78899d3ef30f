"""What a run's records say, in the form that its card needs."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hf_ser.corpora import CORPORA, Corpus

__all__ = ["SEGMENT_SECONDS", "Facts", "code", "entry", "read_facts", "shareable_record", "without_local_paths"]

SEGMENT_SECONDS: Final = 10.0
"""Of what `finetune` cuts longer clips into, and `load`, unless told otherwise."""

# What the Hub takes for a model or data set; everything else there is refused with the whole commit.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

# What begins like a path: from a root, a home, a drive, or the folder of the moment.
_PATH = re.compile(r"(?:[\\/~]|[A-Za-z]:[\\/]|\.\.?[\\/])")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run is, as far as its record says; None (or empty) for what it does not say.

    Attributes:
        base: Name of the base model to show: a Hub id, or the last part of a local path.
        base_id: The same where it is a Hub id.
        revision: Of the base model on the Hub.
        saved: `checkpoint`, `adapter`, or `merged` for an adapter merged into its base.
        recipe: Name of the recipe.
        protocol: Name of the split's protocol.
        labels: In the order of their identifiers.
        dataset: Name of the data set to show.
        dataset_id: The same where it is a Hub id.
        corpora: Corpora that any part holds clips of.
        synthetic: Whether the clips are synthesised instead of recorded.
        example: Whether the record is invented, to show what a card looks like.
        shared_speakers: Speakers of the test part who are in another part, too.
        disjoint: Whether the parts share no speaker; None where nothing in the record shows it.
    """

    base: str | None
    base_id: str | None
    revision: str | None
    saved: str | None
    recipe: str | None
    protocol: str | None
    labels: tuple[str, ...]
    dataset: str | None
    dataset_id: str | None
    corpora: tuple[str, ...]
    synthetic: bool
    example: bool
    shared_speakers: tuple[str, ...]
    disjoint: bool | None

    @property
    def known_corpora(self) -> tuple[Corpus, ...]:
        """The corpora whose terms and contents are known here; none of them for synthetic clips."""
        return () if self.synthetic else tuple(CORPORA[name] for name in self.corpora if name in CORPORA)

    @property
    def acted_english(self) -> bool:
        """Whether every clip is from the four corpora."""
        return bool(self.corpora) and len(self.known_corpora) == len(self.corpora)


def entry(mapping: Mapping[str, Any], *path: str) -> Any:
    """Return what lies at a path of nested mappings, or None where the path ends early.

    Example:
        >>> entry({"model": {"name": "me/hubert"}}, "model", "name")
        'me/hubert'
    """
    value: Any = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def read_facts(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Facts:
    """Read what a run is from its run.json and metrics.json.

    Example:
        >>> facts = read_facts({"model": {"name": "/home/me/hubert-tiny"}}, {"labels": ["calm", "sad"]})
        >>> facts.base, facts.base_id, facts.labels
        ('hubert-tiny', None, ('calm', 'sad'))
    """
    base_id, base = _named(entry(run, "model"))
    dataset_id, dataset = _named(entry(run, "dataset"))
    saved = entry(run, "model", "saved")
    if saved is None and isinstance(run.get("recipe"), Mapping):
        saved = "adapter" if run["recipe"].get("lora") else "checkpoint"
    shared, disjoint = _speakers(run)
    return Facts(
        base=base,
        base_id=base_id,
        revision=entry(run, "model", "revision") if base_id else None,
        saved=saved,
        recipe=_line(entry(run, "recipe", "name")),
        protocol=_line(run.get("protocol")),
        labels=tuple(run.get("labels") or metrics.get("labels") or ()),
        dataset=dataset,
        dataset_id=dataset_id,
        corpora=_corpora(run, metrics),
        synthetic=bool(entry(run, "dataset", "synthetic")),
        example=bool(run.get("example")),
        shared_speakers=shared,
        disjoint=disjoint,
    )


def _line(value: Any) -> str | None:
    # A line of dashes in a name would end the front matter.
    return None if value is None else " ".join(str(value).split())


def _named(described: Any) -> tuple[str | None, str | None]:
    """Return the Hub id, if it is one, and the name to show: of a path, which is nobody's business, its end."""
    if not isinstance(described, Mapping) or not described.get("name"):
        return None, None
    name = _line(described["name"]) or ""
    local = described.get("local")
    if local is None:
        # `encoders/hubert-tiny` has the form of a Hub id; like `transformers`, take it for a folder that exists.
        local = Path(name).exists()
    if not local and _HUB_ID.fullmatch(name):
        return name, name
    return None, _last_part(name)


def without_local_paths(value: Any) -> Any:
    """Return JSON's values with every path of this machine reduced to its last part.

    Example:
        >>> without_local_paths({"name": "/home/me/hubert", "id": "me/hubert", "rate": 16000})
        {'name': 'hubert', 'id': 'me/hubert', 'rate': 16000}
    """
    if isinstance(value, Mapping):
        return {key: without_local_paths(of) for key, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_local_paths(of) for of in value]
    if isinstance(value, str) and (_PATH.match(value) or (os.sep in value and Path(value).exists())):
        return _last_part(value)
    return value


def shareable_record(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's record as others may read it: without paths of this machine, relative ones included.

    Args:
        run: Contents of run.json.

    Example:
        >>> shareable_record({"model": {"name": "encoders/hubert-tiny", "local": True}})
        {'model': {'name': 'hubert-tiny', 'local': True}}
    """
    cleaned: dict[str, Any] = without_local_paths(run)
    # `encoders/hubert-tiny` looks like a Hub id; the record, or the folder that is there, tells that it is none.
    for part in ("model", "dataset"):
        identifier, shown = _named(run.get(part))
        if shown and identifier is None:
            cleaned[part] |= {"name": shown, "local": True}
    return cleaned


def _last_part(path: str) -> str:
    return next((part for part in reversed(re.split(r"[\\/]", path)) if part.strip(".~")), "folder")


def _corpora(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, ...]:
    parts = (entry(run, "dataset", "parts") or {}).values()
    found = {
        corpus for part in parts for corpus, counts in (part.get("counts") or {}).items() if any(counts.values())
    } or set(entry(metrics, "test", "corpora") or ())
    return (*(name for name in CORPORA if name in found), *sorted(found - set(CORPORA)))


def _speakers(run: Mapping[str, Any]) -> tuple[tuple[str, ...], bool | None]:
    parts: Mapping[str, Any] = entry(run, "dataset", "parts") or {}
    speakers = {name: set(part.get("speakers") or ()) for name, part in parts.items()}
    others = set().union(*(found for name, found in speakers.items() if name != "test")) if speakers else set()
    shared = tuple(sorted(others & speakers.get("test", set())))
    if shared:
        return shared, False
    proved = entry(run, "dataset", "proof", "speaker_disjoint")
    if proved is not None:
        return shared, bool(proved)
    return shared, True if len(speakers) > 1 and all(speakers.values()) else None


def code(value: Any) -> str:
    """Return a value as inline code that nothing in it can break out of.

    Example:
        >>> code("lora`qkv")
        '`loraqkv`'
    """
    return "`" + " ".join(str(value).replace("`", "").split()) + "`"
