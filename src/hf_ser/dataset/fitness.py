"""The clips that no model should learn from: silence, and samples that have two labels."""

from __future__ import annotations

import io
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from hf_ser.corpora import CORPORA
from hf_ser.dataset.hygiene import UNFIT_FOR_TRAINING, repeated_samples
from hf_ser.dataset.originals import level, originals

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["without_unfit"]

logger = logging.getLogger(__name__)


def without_unfit(rows: Dataset, labels: Sequence[str]) -> tuple[Dataset, dict[str, int]]:
    """Leave the unfit clips out of a training part, log which, and count them by reason (of `UNFIT_FOR_TRAINING`).

    The column `flags` names them where there is one. Otherwise these are equal files with two labels, and copies of
    the published clips in `Corpus.faults`.
    """
    clip_ids = rows["clip_id"][:]
    if "flags" in rows.column_names:
        found: dict[int, Sequence[str]] = dict(enumerate(rows["flags"][:]))
    else:
        names = [labels[identifier] for identifier in rows["emotion"][:]]
        repeated = repeated_samples([str(row) for row in range(len(rows))], rows["audio_sha256"][:], names)
        found = {int(row): list(flags) for row, flags in repeated.items()}
        faults = {clip_id: flag for corpus in CORPORA.values() for clip_id, flag in corpus.faults.items()}
        for row, clip_id in enumerate(clip_ids):
            if clip_id in faults and _is_published(rows[row]):
                found[row] = [*found.get(row, ()), faults[clip_id]]
    unfit = {row: [flag for flag in UNFIT_FOR_TRAINING if flag in found[row]] for row in sorted(found)}
    reasons = {row: flags[0] for row, flags in unfit.items() if flags}
    if not reasons:
        return rows, {}
    shown = ", ".join(f"{clip_ids[row]} ({reason})" for row, reason in list(reasons.items())[:3])
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    counted = "1 clip is" if len(reasons) == 1 else f"{len(reasons):,} clips are"
    logger.warning("%s left out of training: %s%s", counted, shown, more)
    kept = [row for row in range(len(rows)) if row not in reasons]
    return rows.select(kept), dict(sorted(Counter(reasons.values()).items()))


def _is_published(row: Mapping[str, Any]) -> bool:
    """Return whether a clip is the published recording of its name, in any format, and not another recording."""
    known, audio = originals(), row["audio"]
    if row["clip_id"] not in known.by_clip_id:
        # Of a registered corpus, of which only the names are known.
        return True
    if any(original.clip_id == row["clip_id"] for original in known.with_digest(row["audio_sha256"])):
        return True
    try:
        samples, rate = soundfile.read(audio["path"] if audio["bytes"] is None else io.BytesIO(audio["bytes"]))
    except (soundfile.LibsndfileError, OSError):
        return False
    # As 16-bit integers: a lossy copy of silence is not exactly zero.
    rms = math.sqrt(float(np.mean(np.square(np.rint(32768 * samples))))) if samples.size else 0.0
    return known.is_copy(row["clip_id"], duration=len(samples) / rate, level_db=level(rms))
