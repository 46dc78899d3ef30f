"""The clips of a folder of corpora, each once, and a list of everything that was found wrong with its files."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from hf_ser.corpora import CORPORA, Clip, Discovery, discover, parse
from hf_ser.corpora.clip import LOSSY_EXTENSIONS
from hf_ser.corpora.walk import Found
from hf_ser.dataset.hygiene import Fault, Inspection, repeated_samples, samples_digest
from hf_ser.dataset.inspections import Inspections
from hf_ser.dataset.originals import originals
from hf_ser.dataset.votes import LabelScheme, Votes, voted_emotion
from hf_ser.errors import InputError

__all__ = ["CollectedClip", "Collection", "Finding", "best_copy", "collect"]

# The list of the published files holds levels to one decimal.
_LEVEL_ROUNDING: Final = 0.1
_PROVENANCE_ORDER = ("original", "re_encoded", "unknown")


class Finding(NamedTuple):
    """Something wrong with a file.

    Attributes:
        corpus: The corpus that the file was given as.
        file: Path of the file relative to the given folder or zip file, with forward slashes.
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
        file: Its path relative to the given folder, with forward slashes.
        emotion: The label under the label scheme.
        inspection: What the file contains; its flags include those from comparing clips with each other.
        votes: What people perceived in the clip; None where this is not known.
    """

    clip: Clip
    path: Path
    file: str
    emotion: str
    inspection: Inspection
    votes: Votes | None


@dataclass(frozen=True, slots=True)
class Collection:
    """The clips of a data set and everything that was found wrong.

    Attributes:
        corpora: Names of the given corpora, in the order of `CORPORA`.
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
        """What was found wrong with the clips that are in the data set."""
        return tuple(
            Finding(entry.clip.corpus, entry.file, entry.clip.clip_id, flag, detail)
            for entry in self.clips
            for flag, detail in entry.inspection.flags.items()
        )


def best_copy(copies: Sequence[Found], inspections: Mapping[Path, Inspection | Fault]) -> Found | None:
    """Return the file to use for a clip; None if no file can be read.

    A published file is preferred, then a lossless format, then a re-encoded copy of the published clip to audio of
    unknown origin; among equals the first one (see `Discovery.copies`). A copy without an inspection does not count.
    """

    def rank(copy: Found) -> tuple[int, bool, int]:
        inspection = inspections[copy.path]
        origin = _PROVENANCE_ORDER.index(inspection.provenance) if isinstance(inspection, Inspection) else 0
        return min(origin, 1), copy.path.suffix.lower() in LOSSY_EXTENSIONS, origin

    readable = [copy for copy in copies if isinstance(inspections.get(copy.path), Inspection)]
    return min(readable, key=rank, default=None)


def collect(
    folders: Mapping[str, str | os.PathLike[str]],
    *,
    label_scheme: LabelScheme = "intended",
    votes: Mapping[str, Votes] | None = None,
    num_proc: int | None = None,
    already_rejected: Iterable[Finding] = (),
) -> Collection:
    """Find the clips below folders, read each file once, and keep the best copy of each clip (see `best_copy`).

    Args:
        folders: Folder of each corpus, by name; several corpora may share a folder.
        label_scheme: Where CREMA-D's labels come from; see `build_dataset`.
        votes: CREMA-D's votes by `clip_id`.
        num_proc: Number of files read in parallel; None takes the number of processors.
        already_rejected: Findings of an earlier step, such as unreadable members of a zip file.

    Raises:
        InputError: A folder is missing or contains no clip of its corpus.
    """
    given = {name: Path(folders[name]).resolve() for name in CORPORA if name in folders}
    discoveries: dict[Path, Discovery] = {}
    rejected = list(already_rejected)
    clips: list[CollectedClip] = []
    with Inspections(num_proc) as inspections:
        for name, real in given.items():
            # The files of one corpus are read while the next corpus is searched.
            if real not in discoveries:
                discoveries[real] = discover(folders[name])
                rejected += _not_of_these(discoveries[real], [other for other in given if given[other] == real])
            copies = [copy for files in discoveries[real].copies.values() for copy in files if copy.clip.corpus == name]
            if not copies:
                raise InputError(no_clips(discoveries[real], [name]))
            inspections.begin([(path, "", clip) for path, clip in copies])
        inspected = inspections.finish()
        for real, discovery in discoveries.items():
            for copies_of_one in discovery.copies.values():
                if given.get(copies_of_one[0].clip.corpus) == real:
                    kept, dropped = _choose(discovery, copies_of_one, inspected)
                    rejected += dropped
                    clips += kept
        clips.sort(key=lambda entry: entry.clip.clip_id)
        clips, without_label = _label(clips, label_scheme, votes or {})
        compared = _compare(clips, label_scheme, inspections.pool)
    return Collection(
        corpora=tuple(given),
        clips=tuple(compared),
        rejected=tuple(sorted(rejected + without_label, key=lambda entry: (entry.corpus, entry.file, entry.reason))),
        label_scheme=label_scheme,
    )


def no_clips(discovery: Discovery, missing: Iterable[str]) -> str:
    """Return the message for a folder without clips of the named corpora."""
    examples = ", ".join(
        f"{' or '.join(CORPORA[name].examples)} ({name})" for name in missing if CORPORA[name].examples
    )
    ignored = ""
    if discovery.ignored:
        path, reason = discovery.ignored[0]
        ignored = f" ({len(discovery.ignored)} files ignored, such as {path.name}: {reason})"
    return (
        f"folder {discovery.root} holds no clip of {', '.join(missing)}{ignored}; files must keep their published "
        f"names, such as {examples}"
    )


def _relative(discovery: Discovery, path: Path) -> str:
    top = f"{discovery.root.as_posix().rstrip('/')}/"
    # File names that are not UTF-8 are escaped: the report could not be written otherwise.
    return path.as_posix().removeprefix(top).encode("utf-8", "backslashreplace").decode()


def _not_of_these(discovery: Discovery, corpora: Sequence[str]) -> list[Finding]:
    """Return the recordings in a folder that are not clips of the corpora it was given for."""
    rejected = []
    for path, clip in discovery.found:
        if clip.corpus not in corpora:
            detail = f"a clip of {clip.corpus} in a folder given for {', '.join(corpora)}"
            rejected.append(Finding(corpora[0], _relative(discovery, path), clip.clip_id, "other_corpus", detail))
    for path, reason in discovery.ignored:
        kind = "song_or_video" if "song" in reason or "video" in reason else "not_a_clip"
        rejected.append(Finding(corpora[0], _relative(discovery, path), None, kind, reason))
    return rejected


def _choose(
    discovery: Discovery, copies: Sequence[Found], inspections: Mapping[Path, Inspection | Fault]
) -> tuple[list[CollectedClip], list[Finding]]:
    """Return the best copy of a clip, if any can be read, and findings about the others."""
    best = best_copy(copies, inspections)
    kept, rejected = [], []
    for copy in copies:
        path, clip = copy
        file, inspection = _relative(discovery, path), inspections[path]
        if isinstance(inspection, Fault):
            rejected.append(Finding(clip.corpus, file, clip.clip_id, inspection.reason, inspection.detail))
        elif copy is best:
            kept.append(CollectedClip(clip, path, file, clip.emotion, inspection, None))
        elif best is not None:
            other = inspections[best.path]
            same = "the same" if isinstance(other, Inspection) and other.sha256 == inspection.sha256 else "other"
            kept_file = _relative(discovery, best.path)
            detail = f"a second copy of {clip.clip_id} ({same} bytes); kept: {kept_file}"
            rejected.append(Finding(clip.corpus, file, clip.clip_id, "second_copy", detail))
    return kept, rejected


def _label(
    clips: Iterable[CollectedClip], label_scheme: LabelScheme, votes: Mapping[str, Votes]
) -> tuple[list[CollectedClip], list[Finding]]:
    """Return the clips with their votes and, for CREMA-D, the label of the scheme; and the clips without a label."""
    labelled, rejected = [], []
    for entry in clips:
        clip, heard = entry.clip, votes.get(entry.clip.clip_id)
        emotion: str | None = entry.emotion
        reason, detail = "no_votes", f"no votes are known for {clip.clip_id}"
        if clip.corpus == "crema_d" and label_scheme != "intended":
            emotion = None
            if heard is not None:
                emotion, tied = voted_emotion(heard, label_scheme)
                reason, detail = "vote_tie", f"the votes are tied ({tied})"
        if emotion is None:
            detail += f", and the label scheme is {label_scheme}"
            rejected.append(Finding(clip.corpus, entry.file, clip.clip_id, reason, detail))
        else:
            labelled.append(replace(entry, votes=heard, emotion=emotion))
    return labelled, rejected


def _compare(clips: Sequence[CollectedClip], label_scheme: LabelScheme, pool: Executor) -> list[CollectedClip]:
    """Flag the clips whose samples another clip has too, and add the digests computed for this."""
    digests = _digests(clips, pool)
    entries = [(it.clip.clip_id, digests[it.clip.clip_id], it.emotion) for it in clips if it.clip.clip_id in digests]
    if label_scheme == "intended":
        entries += absent_twins(digests, {entry.clip.clip_id for entry in clips})
    repeated = repeated_samples(*zip(*entries, strict=True)) if entries else {}
    compared = []
    for entry in clips:
        if digest := digests.get(entry.clip.clip_id):
            flags = {**entry.inspection.flags, **repeated.get(entry.clip.clip_id, {})}
            entry = replace(entry, inspection=replace(entry.inspection, flags=flags, pcm_sha1=digest))
        compared.append(entry)
    return compared


def _digests(clips: Sequence[CollectedClip], pool: Executor) -> dict[str, str]:
    """Return the digests, by `clip_id`, of the clips whose length and level another clip has too."""
    twins = [twin for group in originals().by_sha256.values() if len(group) > 1 for twin in group]
    lengths: dict[int, list[tuple[float, CollectedClip | None]]] = {}
    for entry in clips:
        lengths.setdefault(entry.inspection.frames, []).append((entry.inspection.rms, entry))
    for twin in twins:
        lengths.setdefault(twin.frames, []).append((twin.rms, None))
    alike: dict[str, CollectedClip] = {}
    for members in lengths.values():
        members.sort(key=lambda member: member[0])
        for (lower, first), (higher, second) in itertools.pairwise(members):
            if higher - lower <= _LEVEL_ROUNDING:
                alike |= {entry.clip.clip_id: entry for entry in (first, second) if entry is not None}
    # Files with the same bytes are decoded once.
    unknown = {it.inspection.sha256: it.path for it in alike.values() if it.inspection.pcm_sha1 is None}
    found = dict(zip(unknown, pool.map(samples_digest, unknown.values()), strict=True))
    return {
        clip_id: alike[clip_id].inspection.pcm_sha1 or found[alike[clip_id].inspection.sha256]
        for clip_id in sorted(alike)
    }


def absent_twins(digests: Mapping[str, str], present: Set[str]) -> list[tuple[str, str, str]]:
    """Return the missing published clips that have the same samples as a given clip.

    A clip whose published twin has another label is contradictory even if the twin is missing.

    Args:
        digests: `pcm_sha1` of the given clips by `clip_id`.
        present: `clip_id` of all given clips.

    Returns:
        `clip_id`, `pcm_sha1` and intended emotion of each.

    Example:
        >>> twins = originals().by_clip_id
        >>> digests = {"crema_d/1017_IWW_ANG_XX": twins["crema_d/1017_IWW_ANG_XX"].pcm_sha1}
        >>> absent_twins(digests, set(digests))
        [('crema_d/1017_IWW_FEA_XX', ..., 'fear')]
    """
    held = set(digests.values())
    absent = [it for it in originals().by_clip_id.values() if it.pcm_sha1 in held and it.clip_id not in present]
    clips = [parse(f"{original.clip_id}.wav") for original in absent]
    return [(it.clip_id, it.pcm_sha1, clip.emotion) for it, clip in zip(absent, clips, strict=True) if clip]
