"""What a run's records say, in the form that its card needs."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_ser.corpora import CORPORA, Corpus
from hf_ser.errors import without_tokens
from hf_ser.files import entry

# The Hub rejects a whole commit whose card names a model or data set in any other form.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

# Starts of paths: a root, a home, a drive, the current or the parent folder.
_PATH = re.compile(r"(?:[\\/~]|[A-Za-z]:[\\/]|\.\.?[\\/])")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run's record says about it; None or empty where it says nothing."""

    base: str | None  # to show: a Hub id, or the last part of a local path
    base_id: str | None  # the same if it is a Hub id
    revision: str | None
    saved: str | None  # checkpoint, adapter, or merged
    recipe: str | None
    peft_type: str  # lora, ia3 or ln_tuning; of no meaning without an adapter
    adapted_head: bool  # whether LoRA trained the head itself
    protocol: str | None
    labels: tuple[str, ...]
    dataset: str | None
    dataset_id: str | None
    corpora: tuple[str, ...]
    languages: tuple[str, ...]
    licence: str | None
    synthetic: bool
    example: bool  # whether the record is invented, to show what a card looks like
    shared_speakers: tuple[str, ...]  # of the test part, who are in another part too
    shared_clips: int  # pairs of clips in two parts with the same audio
    disjoint: bool | None  # whether the parts share no speaker and no recording; None if that is not known
    speakers_known: bool  # whether every speaker is one, and not a group of recordings
    acted: bool | None  # whether the speech is acted; None if that is not known

    @property
    def known_corpora(self) -> tuple[Corpus, ...]:
        """The registered corpora among `corpora`; none for synthetic clips."""
        return () if self.synthetic else tuple(CORPORA[name] for name in self.corpora if name in CORPORA)

    @property
    def speech(self) -> str:
        """What the clips hold, such as `English speech` or `speech (de, sv)`."""
        if self.languages == ("en",):
            return "English speech"
        return f"speech ({', '.join(self.languages)})" if self.languages else "speech"


def read_facts(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Facts:
    """Read the facts of a run from its run.json and metrics.json."""
    base_id, base = _named(entry(run, "model"))
    dataset_id, dataset = _named(entry(run, "dataset"))
    saved = entry(run, "model", "saved")
    if saved is None and isinstance(run.get("recipe"), Mapping):
        saved = "adapter" if run["recipe"].get("lora") else "checkpoint"
    corpora = _corpora(run, metrics)
    synthetic = bool(entry(run, "dataset", "synthetic"))
    known = [CORPORA[name] for name in corpora] if set(corpora) <= set(CORPORA) and not synthetic else []
    languages = entry(run, "dataset", "languages") or dict.fromkeys(it.language for it in known)
    acted = entry(run, "dataset", "acted")
    return Facts(
        base=base,
        base_id=base_id,
        revision=entry(run, "model", "revision") if base_id else None,
        saved=saved,
        recipe=_line(entry(run, "recipe", "name")),
        peft_type=_line(entry(run, "recipe", "peft_type")) or "lora",
        adapted_head="classifier" in (entry(run, "recipe", "lora", "target_modules") or ()),
        protocol=_line(run.get("protocol")),
        labels=tuple(run.get("labels") or metrics.get("labels") or ()),
        dataset=dataset,
        dataset_id=dataset_id,
        corpora=corpora,
        languages=() if synthetic else tuple(languages),
        licence=None if synthetic else _line(entry(run, "dataset", "licence")),
        synthetic=synthetic,
        example=bool(run.get("example")),
        **_shared(run),
        speakers_known=entry(run, "dataset", "proof", "speakers_known") is not False,
        acted=(bool(known) and all(it.acted for it in known)) or None if acted is None else bool(acted),
    )


def _line(value: Any) -> str | None:
    # A line of dashes would end the front matter, and a comment could end the generated block.
    return None if value is None else " ".join(str(value).replace("<!--", "").split())


def _named(described: Any) -> tuple[str | None, str | None]:
    """Return the Hub id, if it is one, and the name to show; of a local path only the last part is shown."""
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


def segment_seconds(run: Mapping[str, Any]) -> float:
    """Return the length of the segments that longer clips are cut into."""
    # Earlier versions recorded it beside the recipe.
    return float(entry(run, "recipe", "segment_seconds") or run.get("segment_seconds") or 10.0)


def without_local_paths(value: Any) -> Any:
    """Return JSON values with every local path reduced to its last part, and without Hub tokens.

    Example:
        >>> without_local_paths({"name": "/home/me/hubert", "id": "me/hubert", "rate": 16000})
        {'name': 'hubert', 'id': 'me/hubert', 'rate': 16000}
    """
    if isinstance(value, Mapping):
        # Only where a token is expected: a repository may be called hf_something.
        secret = {key: without_tokens(of) for key, of in value.items() if "token" in key and isinstance(of, str)}
        return {key: without_local_paths(of) for key, of in value.items()} | secret
    if isinstance(value, (list, tuple)):
        return [without_local_paths(of) for of in value]
    if isinstance(value, str) and (_PATH.match(value) or (os.sep in value and Path(value).exists())):
        return _last_part(value)
    return value


def shareable_record(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's record without local paths, relative ones included."""
    cleaned: dict[str, Any] = without_local_paths(run)
    # `encoders/hubert-tiny` looks like a Hub id; only the record, or the existing folder, shows that it is a path.
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


def _shared(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the parts share, by the names of `Facts`."""
    parts: Mapping[str, Any] = entry(run, "dataset", "parts") or {}
    speakers = {name: set(part.get("speakers") or ()) for name, part in parts.items()}
    others = set().union(*(found for name, found in speakers.items() if name != "test")) if speakers else set()
    shared = tuple(sorted(others & speakers.get("test", set())))
    overlaps = (entry(run, "dataset", "proof", "overlaps") or {}).values()
    copies = sum(len(of.get(kind) or ()) for of in overlaps for kind in ("identical_samples", "near_identical"))
    disjoint = entry(run, "dataset", "proof", "speaker_disjoint")
    if disjoint is None and len(speakers) > 1 and all(speakers.values()):
        disjoint = True
    if shared or copies or any(of.get("speakers") for of in overlaps):
        disjoint = False
    return {"shared_speakers": shared, "shared_clips": copies, "disjoint": disjoint}


def code(value: Any) -> str:
    """Return a value as inline code that it cannot break out of."""
    return f"`{_line(str(value).replace('`', ''))}`"
