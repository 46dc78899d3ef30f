"""The clips that no model should learn from: silence, and samples that bear two labels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.corpora import parse
from hf_ser.dataset.hygiene import UNFIT_FOR_TRAINING, Fault, inspect_bytes, repeated_samples
from hf_ser.dataset.originals import originals

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["unfit_clips", "without_unfit"]

logger = logging.getLogger(__name__)


def without_unfit(rows: Dataset, labels: Sequence[str]) -> tuple[Dataset, dict[str, int]]:
    """Leave the unfit clips out of a training part, and say in the log which.

    Args:
        rows: Columns `audio` (`Audio(decode=False)`), `emotion` (identifiers), `clip_id` and `audio_sha256`, and
            `flags` where the data set was built by this library.
        labels: The labels in the order of their identifiers.

    Returns:
        The other rows, and the number of clips left out by reason.
    """
    unfit = unfit_clips(rows, labels)
    if not unfit:
        return rows, {}
    clip_ids = list(rows["clip_id"])
    shown = ", ".join(f"{clip_ids[row]} ({reason})" for row, reason in list(unfit.items())[:3])
    more = f" and {len(unfit) - 3} more" if len(unfit) > 3 else ""
    counted = "1 clip is" if len(unfit) == 1 else f"{len(unfit):,} clips are"
    logger.warning("%s left out of training: %s%s", counted, shown, more)
    kept = [row for row in range(len(rows)) if row not in unfit]
    return rows.select(kept), dict(sorted(Counter(unfit.values()).items()))


def unfit_clips(rows: Dataset, labels: Sequence[str]) -> dict[int, str]:
    """Return the reason (one of `UNFIT_FOR_TRAINING`) by row, for the rows that training leaves out.

    The column `flags` tells them. Without it, equal files with two labels are found by their digests, and the few
    published clips that are silent or contradictory are looked at.
    """
    if "flags" in rows.column_names:
        flagged = {
            row: [flag for flag in UNFIT_FOR_TRAINING if flag in flags] for row, flags in enumerate(rows["flags"])
        }
        return {row: found[0] for row, found in flagged.items() if found}
    clip_ids = list(rows["clip_id"])
    names = [labels[identifier] for identifier in rows["emotion"]]
    unfit = {}
    repeated = repeated_samples([str(row) for row in range(len(clip_ids))], list(rows["audio_sha256"]), names)
    suspects = _published_suspects()
    for row, clip_id in enumerate(clip_ids):
        found = {*repeated.get(str(row), {}), *(_look(rows[row], clip_id, suspects) if clip_id in suspects else ())}
        reason = next((flag for flag in UNFIT_FOR_TRAINING if flag in found), None)
        if reason:
            unfit[row] = reason
    return unfit


@cache
def _published_suspects() -> Mapping[str, tuple[str, ...]]:
    """Return the flags of the published clips that are silent or contradictory, by `clip_id`."""
    known = list(originals().by_clip_id.values())
    emotions = [clip.emotion if (clip := parse(f"{entry.clip_id}.wav")) else "" for entry in known]
    repeated = repeated_samples([entry.clip_id for entry in known], [entry.pcm_sha1 for entry in known], emotions)
    flags = {clip_id: tuple(found) for clip_id, found in repeated.items()}
    flags |= {entry.clip_id: ("all_zeros",) for entry in known if entry.rms == 0.0}
    return {clip_id: found for clip_id, found in flags.items() if set(found) & set(UNFIT_FOR_TRAINING)}


def _look(row: Mapping[str, Any], clip_id: str, suspects: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the flags of a clip that bears the name of a suspect: another recording under that name is none."""
    clip, audio = parse(f"{clip_id}.wav"), row["audio"]
    if clip is None:
        return ()
    if audio["bytes"] is None:
        content, name = Path(audio["path"]).read_bytes(), audio["path"]
    else:
        content, name = audio["bytes"], audio["path"] or clip_id
    inspection = inspect_bytes(content, name, clip)
    if isinstance(inspection, Fault):
        return ()
    return (*inspection.flags, *(suspects[clip_id] if inspection.provenance != "unknown" else ()))
