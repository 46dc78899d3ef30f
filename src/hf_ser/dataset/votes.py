"""CREMA-D's perceptual votes: how many people chose each emotion for a clip, and the label that follows."""

import csv
import os
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from hf_ser.errors import InputError

LabelScheme: TypeAlias = Literal["intended", "voice_vote", "multimodal_vote"]

LABEL_SCHEMES: Final[tuple[LabelScheme, ...]] = get_args(LabelScheme)
"""Sources of CREMA-D's labels: the emotion that the actor was asked for, or the one that people perceived."""

VOTE_LABELS: Final = ("angry", "disgust", "fear", "happy", "neutral", "sad")
"""The emotions that people could choose."""

VOTE_COLUMNS: Final = ("voice_votes", "face_votes", "multimodal_votes")
"""Columns of votes: after hearing, seeing, or hearing and seeing a clip; so numbered in the published table."""

Votes: TypeAlias = dict[str, dict[str, int]]
"""Number of people by the emotion that they chose, for each of `VOTE_COLUMNS`."""

_FILE: Final = "tabulatedVotes.csv"


def voted_emotion(votes: Votes, label_scheme: LabelScheme) -> tuple[str | None, str]:
    """Return the emotion with the most votes (None for a tie), and the leading emotions with their votes."""
    counts = votes[f"{label_scheme}s"]
    most = max(counts.values())
    leaders = [emotion for emotion, number in counts.items() if number == most]
    return (leaders[0] if len(leaders) == 1 else None), ", ".join(f"{emotion} {most}" for emotion in leaders)


def find_votes(folder: str | os.PathLike[str]) -> Path | None:
    """Return the table of votes in a folder, at most two folders below it, or next to it; None without one."""
    top = Path(folder).resolve()
    # The zip file of a repository has one folder at its top.
    patterns = (_FILE, f"*/{_FILE}", f"../processedResults/{_FILE}", f"*/*/{_FILE}")
    return next((file for pattern in patterns for file in sorted(top.glob(pattern))), None)


def read_votes(path: str | os.PathLike[str]) -> dict[str, Votes]:
    """Return CREMA-D's votes by `clip_id`, from the published `tabulatedVotes.csv` or a folder that contains it."""
    file = find_votes(path) if Path(path).is_dir() else Path(path)
    if file is None or not file.is_file():
        raise InputError(f"{path}: no {_FILE} there; give CREMA-D's folder processedResults")
    votes: dict[str, dict[str, dict[str, int]]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                # The first digit of a row's number says how the clip was presented: 1, 2 or 3.
                column = VOTE_COLUMNS["123".index(row[""][:1] or "none")]
                counts = {label: int(row[label[0].upper()]) for label in VOTE_LABELS}
                votes.setdefault(f"crema_d/{row['fileName']}", {})[column] = counts
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{file}: not CREMA-D's table of votes; download processedResults/{_FILE} again") from error
    return {clip_id: found for clip_id, found in votes.items() if len(found) == len(VOTE_COLUMNS)}
