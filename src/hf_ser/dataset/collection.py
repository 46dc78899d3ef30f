"""The clips of the corpora that a user has, each once, with all that was found on the way to them."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from hf_ser.corpora import CORPORA, Clip, discover, parse
from hf_ser.corpora.walk import Discovery
from hf_ser.dataset.hygiene import Fault, Inspection, repeated_samples, samples_digest
from hf_ser.dataset.inspections import Inspections
from hf_ser.dataset.originals import originals
from hf_ser.dataset.votes import LabelScheme, Votes, voted_emotion
from hf_ser.errors import InputError

__all__ = ["CollectedClip", "Collection", "Finding", "collect"]

# The list of the published files holds levels to one decimal.
_LEVEL_ROUNDING: Final = 0.1
_PROVENANCE_ORDER = ("original", "re_encoded", "unknown")


class Finding(NamedTuple):
    """Something wrong with a file.

    Attributes:
        corpus: The corpus that the file was given as.
        file: Path of the file from the folder or zip file that was given, with forward slashes.
        clip_id: The clip that its name stands for; None where it stands for none.
        reason: One of the reasons of `hf_ser.dataset.report.REASONS`.
        detail: What was found, in words.
    """

    corpus: str
    file: str
    clip_id: str | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class CollectedClip:
    """A clip of the data set.

    Attributes:
        clip: What the file's name says.
        path: The file.
        file: Path of the file from the folder that was given, with forward slashes.
        emotion: The label under the label scheme, one of `hf_ser.labels.EMOTIONS`.
        inspection: What the file holds; its flags include those that come of comparing clips.
        votes: What people heard and saw in the clip; None where this is not known.
    """

    clip: Clip
    path: Path
    file: str
    emotion: str
    inspection: Inspection
    votes: Votes | None


@dataclass(frozen=True, slots=True)
class Collection:
    """The clips of a data set and what was found on the way to them.

    Attributes:
        corpora: Names of the corpora that were given, in the order of `CORPORA`.
        clips: Each clip once, sorted by `clip_id`.
        rejected: Files that are not in the data set.
        label_scheme: Where CREMA-D's labels come from.
    """

    corpora: tuple[str, ...]
    clips: tuple[CollectedClip, ...]
    rejected: tuple[Finding, ...]
    label_scheme: LabelScheme

    @property
    def flagged(self) -> tuple[Finding, ...]:
        """What was found of the clips that are in the data set."""
        return tuple(
            Finding(entry.clip.corpus, entry.file, entry.clip.clip_id, flag, detail)
            for entry in self.clips
            for flag, detail in entry.inspection.flags.items()
        )


def collect(
    folders: Mapping[str, str | os.PathLike[str]],
    *,
    label_scheme: LabelScheme = "intended",
    votes: Mapping[str, Votes] | None = None,
    num_proc: int | None = None,
    already_rejected: Iterable[Finding] = (),
) -> Collection:
    """Find the clips below folders, read each file once, and keep the best copy of each clip.

    Of several files with one clip, a published file comes before a re-encoded one, that before one of unknown
    origin, and among equals the one fewest folders deep is kept.

    Args:
        folders: Folder of each corpus, by name; several corpora may lie in one folder.
        label_scheme: Where CREMA-D's labels come from; see `build_dataset`.
        votes: CREMA-D's votes by `clip_id`.
        num_proc: Files that are read at a time; None takes the number of processors.
        already_rejected: Findings of an earlier step, such as the members of a zip file that cannot be read.

    Raises:
        InputError: A folder is missing or holds no clip of its corpus.
    """
    candidates: dict[str, list[tuple[Path, str, Clip]]] = {}
    rejected = list(already_rejected)
    with Inspections(num_proc) as inspections:
        discoveries: dict[Path, Discovery] = {}
        for name in CORPORA:
            if name in folders:
                folder = _real(folders[name])
                if folder not in discoveries:
                    discoveries[folder] = discover(folders[name])
                found, passed_over = _of_corpus(discoveries[folder], name, folders)
                # The files of one corpus are read while the next one's are found.
                inspections.begin(found)
                rejected += passed_over
                for path, file, clip in found:
                    candidates.setdefault(clip.clip_id, []).append((path, file, clip))
        inspected = inspections.finish()
        clips = []
        for _, copies in sorted(candidates.items()):
            kept, dropped = _choose(copies, inspected)
            rejected += dropped
            if kept is not None:
                clips.append(kept)
        clips, without_label = _label(clips, label_scheme, votes or {})
        compared = _compare(clips, label_scheme, inspections.pool)
    return Collection(
        corpora=tuple(name for name in CORPORA if name in folders),
        clips=tuple(compared),
        rejected=tuple(sorted(rejected + without_label, key=lambda entry: (entry.corpus, entry.file, entry.reason))),
        label_scheme=label_scheme,
    )


def _real(folder: str | os.PathLike[str]) -> Path:
    return Path(folder).resolve()


def _of_corpus(
    discovery: Discovery, corpus: str, folders: Mapping[str, str | os.PathLike[str]]
) -> tuple[list[tuple[Path, str, Clip]], list[Finding]]:
    """Return the files of one corpus, the best placed first, and the recordings that are no clips of it."""
    top = f"{discovery.root.as_posix().rstrip('/')}/"

    def relative(path: Path) -> str:
        # A name in an encoding of long ago would not go into the report as it is.
        return path.as_posix().removeprefix(top).encode("utf-8", "backslashreplace").decode()

    shared = [name for name in CORPORA if name in folders and _real(folders[name]) == _real(folders[corpus])]
    found, rejected = [], []
    for path, clip in discovery.found:
        if clip.corpus == corpus:
            found.append((path, relative(path), clip))
        elif clip.corpus not in shared and corpus == shared[0]:
            detail = f"a clip of {clip.corpus} in a folder given for {', '.join(shared)}"
            rejected.append(Finding(corpus, relative(path), clip.clip_id, "other_corpus", detail))
    for path, _, clip_id in discovery.duplicates:
        if clip_id.startswith(f"{corpus}/"):
            copy = parse(path)
            if copy is not None:
                found.append((path, relative(path), copy))
    if corpus == shared[0]:
        # Said once of a folder, whatever the number of corpora that it was given for.
        for path, reason in discovery.ignored:
            kind = "song_or_video" if "song" in reason or "video" in reason else "not_a_clip"
            rejected.append(Finding(corpus, relative(path), None, kind, reason))
    if not found:
        examples = " or ".join(CORPORA[corpus].examples)
        raise InputError(
            f"folder {discovery.root} holds no clip of {corpus}; its files must keep their published names, "
            f"such as {examples}"
        )
    return found, rejected


def _choose(
    copies: Sequence[tuple[Path, str, Clip]], inspections: Mapping[Path, Inspection | Fault]
) -> tuple[CollectedClip | None, list[Finding]]:
    """Return the best copy of a clip, if any can be read, and what is said of the others."""
    rejected = []
    readable: list[CollectedClip] = []
    for path, file, clip in copies:
        inspection = inspections[path]
        if isinstance(inspection, Fault):
            rejected.append(Finding(clip.corpus, file, clip.clip_id, inspection.reason, inspection.detail))
        else:
            readable.append(CollectedClip(clip, path, file, clip.emotion, inspection, None))
    if not readable:
        return None, rejected
    kept = min(readable, key=lambda entry: _PROVENANCE_ORDER.index(entry.inspection.provenance))
    for entry in readable:
        if entry is not kept:
            same = "the same bytes" if entry.inspection.sha256 == kept.inspection.sha256 else "other bytes"
            detail = f"a second copy of {entry.clip.clip_id} ({same}); kept: {kept.file}"
            rejected.append(Finding(entry.clip.corpus, entry.file, entry.clip.clip_id, "second_copy", detail))
    return kept, rejected


def _label(
    clips: Iterable[CollectedClip], label_scheme: LabelScheme, votes: Mapping[str, Votes]
) -> tuple[list[CollectedClip], list[Finding]]:
    """Give each clip its votes, and the CREMA-D clips the label of the scheme."""
    labelled, rejected = [], []
    for entry in clips:
        clip, heard = entry.clip, votes.get(entry.clip.clip_id)
        if clip.corpus != "crema_d" or label_scheme == "intended":
            labelled.append(entry if heard is None else replace(entry, votes=heard))
            continue
        if heard is None:
            detail = f"no votes are known for {clip.clip_id}, and the label scheme is {label_scheme}"
            rejected.append(Finding(clip.corpus, entry.file, clip.clip_id, "no_votes", detail))
            continue
        emotion, tied = voted_emotion(heard, label_scheme)
        if emotion is None:
            detail = f"the votes are tied ({tied}), and the label scheme is {label_scheme}"
            rejected.append(Finding(clip.corpus, entry.file, clip.clip_id, "vote_tie", detail))
        else:
            labelled.append(replace(entry, votes=heard, emotion=emotion))
    return labelled, rejected


def _compare(clips: Sequence[CollectedClip], label_scheme: LabelScheme, pool: Executor) -> list[CollectedClip]:
    """Flag the clips whose samples come again, and find the digests that this takes."""
    digests = _digests(clips, pool)
    entries = [
        (clip_id, digests[clip_id], entry.emotion) for entry in clips if (clip_id := entry.clip.clip_id) in digests
    ]
    if label_scheme == "intended":
        entries += absent_twins(digests, {entry.clip.clip_id for entry in clips})
    repeated = repeated_samples(*zip(*entries, strict=True)) if entries else {}
    compared = []
    for entry in clips:
        clip_id, inspection = entry.clip.clip_id, entry.inspection
        if clip_id in digests:
            flags = {**inspection.flags, **repeated.get(clip_id, {})}
            inspection = replace(inspection, flags=flags, pcm_sha1=digests[clip_id])
            entry = replace(entry, inspection=inspection)
        compared.append(entry)
    return compared


def _digests(clips: Sequence[CollectedClip], pool: Executor) -> dict[str, str]:
    """Return the digests of the samples that may come again, by `clip_id`: those of one length and one level."""
    twins = [twin for group in originals().by_sha256.values() if len(group) > 1 for twin in group]
    lengths: dict[int, list[tuple[float, CollectedClip | None]]] = {}
    for entry in clips:
        lengths.setdefault(entry.inspection.frames, []).append((entry.inspection.rms, entry))
    for twin in twins:
        lengths.setdefault(twin.frames, []).append((twin.rms, None))
    alike: list[CollectedClip] = []
    for members in lengths.values():
        members.sort(key=lambda member: member[0])
        for position, (rms, member) in enumerate(members):
            neighbours = members[max(position - 1, 0) : position] + members[position + 1 : position + 2]
            if member is not None and any(abs(rms - other) <= _LEVEL_ROUNDING for other, _ in neighbours):
                alike.append(member)
    # Files of the same bytes are decoded once.
    unknown = {entry.inspection.sha256: entry.path for entry in alike if entry.inspection.pcm_sha1 is None}
    found = dict(zip(unknown, pool.map(samples_digest, unknown.values()), strict=True))
    return {
        entry.clip.clip_id: entry.inspection.pcm_sha1 or found[entry.inspection.sha256]
        for entry in sorted(alike, key=lambda entry: entry.clip.clip_id)
    }


def absent_twins(digests: Mapping[str, str], present: Set[str]) -> list[tuple[str, str, str]]:
    """Return the published clips with the samples of a clip at hand that are not at hand themselves.

    A clip whose published twin has another label is contradictory wherever that twin may be.

    Args:
        digests: `pcm_sha1` of clips at hand by `clip_id`.
        present: `clip_id` of all clips at hand.

    Returns:
        `clip_id`, `pcm_sha1` and intended emotion of each.

    Example:
        >>> twins = originals().by_clip_id
        >>> digests = {"crema_d/1017_IWW_ANG_XX": twins["crema_d/1017_IWW_ANG_XX"].pcm_sha1}
        >>> absent_twins(digests, set(digests))
        [('crema_d/1017_IWW_FEA_XX', ..., 'fear')]
    """
    held = set(digests.values())
    absent = []
    for original in originals().by_clip_id.values():
        if original.pcm_sha1 in held and original.clip_id not in present:
            clip = parse(f"{original.clip_id}.wav")
            if clip is not None:
                absent.append((original.clip_id, original.pcm_sha1, clip.emotion))
    return absent
