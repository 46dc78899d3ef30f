"""The clips of folders of corpora, each once, and a list of everything that was found wrong with their files."""

import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas
from tqdm import tqdm

from hf_ser.corpora import CORPORA, Discovery, discover, parse
from hf_ser.corpora.clip import LOSSY_EXTENSIONS
from hf_ser.corpora.originals import originals
from hf_ser.corpora.walk import Found
from hf_ser.dataset.hygiene import Fault, Finding, Inspection, inspect_file, repeated_samples
from hf_ser.dataset.layout import EIGHT_EMOTIONS
from hf_ser.dataset.votes import VOTE_COLUMNS, LabelScheme, Votes, voted_emotion
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

_NAMED = ("corpus", "speaker", "sex", "age", "emotion", "sentence", "intensity", "clip_id")
_COLUMNS = ("path", "file", *_NAMED, *Inspection._fields, "duration", *VOTE_COLUMNS)
_PROVENANCE_ORDER = ("original", "re_encoded", "unknown")
# Submitting single files takes a third of the time that inspecting them takes.
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Collection:
    """The given corpora, the clips, the files that are not among them, and where CREMA-D's labels come from.

    `clips` has one row per clip, sorted by `clip_id`: `path`, `file` (relative to the given folder), the fields of
    `hf_ser.corpora.Clip` (`emotion` under the label scheme) and of `Inspection`, `duration` and the votes.
    """

    corpora: tuple[str, ...]
    clips: pandas.DataFrame
    rejected: tuple[Finding, ...]
    label_scheme: LabelScheme

    @property
    def flagged(self) -> tuple[Finding, ...]:
        """What was found wrong with the clips that are in the data set."""
        rows = zip(*(self.clips[name] for name in ("corpus", "file", "clip_id", "flags")), strict=True)
        return tuple(Finding(*named, *flag) for *named, flags in rows for flag in flags.items())


def collect(
    folders: Mapping[str, str | os.PathLike[str]],
    *,
    label_scheme: LabelScheme = "intended",
    votes: Mapping[str, Votes] | None = None,
    num_proc: int | None = None,
    already_rejected: Iterable[Finding] = (),
) -> Collection:
    """Find the clips of corpora below their folders, inspect every file, and keep the best copy of each clip.

    `folders` has a folder for each corpus, which several may share; `votes` are CREMA-D's by `clip_id`; for
    `label_scheme` and `num_proc` see `build_dataset`; `already_rejected` are findings of an earlier step.
    """
    given = {name: Path(folders[name]).resolve() for name in CORPORA if name in folders}
    rejected, rows = list(already_rejected), []
    for real in dict.fromkeys(given.values()):
        names = [name for name in given if given[name] == real]
        found, dropped = _best_copies(discover(folders[names[0]]), names, num_proc)
        rows += found
        rejected += dropped
    labelled, without_label = _label(sorted(rows, key=lambda row: row["clip_id"]), label_scheme, votes or {})
    _compare(labelled, label_scheme)
    return Collection(
        corpora=tuple(given),
        clips=pandas.DataFrame(labelled, columns=_COLUMNS, dtype=object),
        rejected=tuple(sorted(rejected + without_label, key=lambda entry: (entry.corpus, entry.file, entry.reason))),
        label_scheme=label_scheme,
    )


def read_folder(root: str | os.PathLike[str]) -> "Dataset":
    """Return the clips below a folder as a data set, sorted by `clip_id`; files are hashed, but rarely decoded.

    Its columns are `audio` (`Audio(decode=False)`: the absolute path, no bytes), `emotion` (`ClassLabel` of `EMOTIONS`,
    then of any other label), the other fields of `Clip`, `duration` (seconds), `sampling_rate` (Hz) and `audio_sha256`.
    """
    from datasets import Audio, ClassLabel, Dataset, Features, Value

    discovery = discover(root)
    rows, rejected = _best_copies(discovery)
    usable = {row["clip_id"] for row in rows}
    broken = {it.clip_id: it for it in reversed(rejected) if it.clip_id and it.clip_id not in usable}
    if broken:
        first = broken[min(broken)]
        more = f" ({len(broken) - 1} more of {len(discovery.copies)} clips are unusable)" if len(broken) > 1 else ""
        hint = "" if first.reason == "lfs_pointer" else "; download it again or remove it"
        raise InputError(f"{discovery.root / first.file} {first.detail}{hint}{more}")
    for kind, of_clip in (("further copies of clips", True), ("other files", False)):
        if left_out := [it for it in rejected if bool(it.clip_id) == of_clip]:
            example = discovery.root / left_out[0].file, left_out[0].detail
            logger.warning("%d %s were left out, such as %s (%s)", len(left_out), kind, *example)
    labels = [*EMOTIONS, *sorted({row["emotion"] for row in rows} - set(EMOTIONS))]
    columns = ("emotion", *_NAMED, "duration", "sampling_rate", "audio_sha256")
    kinds = {name: EIGHT_EMOTIONS.get(name, Value("string")) for name in columns}
    features = Features({"audio": Value("string"), **kinds, "emotion": ClassLabel(names=labels)})
    rows = [row | {"audio": str(row["path"]), "audio_sha256": row["sha256"]} for row in rows]
    values = {name: [row[name] for row in rows] for name in features}
    # Paths first, cast second: encoding paths as Audio directly imports torchcodec even with decode=False.
    return Dataset.from_dict(values, features=features).cast_column("audio", Audio(decode=False))


def _best_copies(
    discovery: Discovery, corpora: Sequence[str] = (), num_proc: int | None = None
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return a row for each clip of the corpora, and a finding for each file that is not used.

    Without named corpora, those of all known ones are returned, and a file without another copy is not decoded.
    """
    wanted = corpora or list(CORPORA)
    clips = {clip_id: files for clip_id, files in discovery.copies.items() if files[0].clip.corpus in wanted}
    missing = set(wanted) - {files[0].clip.corpus for files in clips.values()}
    if missing and (corpora or not clips):
        raise InputError(_no_clips(discovery, [name for name in wanted if name in missing]))
    files = [(*file, not corpora and len(copies) == 1) for copies in clips.values() for file in copies]
    batches = [files[begin : begin + _BATCH] for begin in range(0, len(files), _BATCH)]
    originals()  # Loaded once, before several threads ask for it.
    with ThreadPoolExecutor(num_proc or os.cpu_count()) as pool:
        done = pool.map(lambda batch: [inspect_file(*file) for file in batch], batches)
        bar = tqdm(done, desc="Checking audio files", total=len(batches), unit="batch", disable=None)
        inspections = dict(zip((path for path, *_ in files), itertools.chain.from_iterable(bar), strict=True))
    rows, rejected = [], []
    for clip_id, copies in discovery.copies.items():
        if clip_id not in clips:
            detail = f"a clip of {copies[0].clip.corpus} in a folder given for {', '.join(wanted)}"
            rejected.append(Finding(wanted[0], _relative(discovery, copies[0].path), clip_id, "other_corpus", detail))
            continue
        best = _best(copies, inspections)
        for path, clip in copies:
            file, inspection = _relative(discovery, path), inspections[path]
            if isinstance(inspection, Fault):
                rejected.append(Finding(clip.corpus, file, clip_id, *inspection))
            elif best and path == best.path:
                facts = inspection._asdict() | {"duration": inspection.duration}
                rows.append({"path": path, "file": file, **asdict(clip), **facts, **dict.fromkeys(VOTE_COLUMNS)})
            elif best:
                same = "the same" if inspection.sha256 == getattr(inspections[best.path], "sha256", "") else "other"
                detail = f"a second copy of {clip_id} ({same} bytes); kept: {_relative(discovery, best.path)}"
                rejected.append(Finding(clip.corpus, file, clip_id, "second_copy", detail))
    for path, reason in discovery.ignored:
        kind = "song_or_video" if "song" in reason or "video" in reason else "not_a_clip"
        rejected.append(Finding(wanted[0], _relative(discovery, path), None, kind, reason))
    return rows, rejected


def _best(copies: Sequence[Found], inspections: Mapping[Path, Inspection | Fault]) -> Found | None:
    """Return the file to use for a clip; None if no file can be read.

    A published file is preferred, then a lossless format, then a re-encoded copy of the published clip to audio of
    unknown origin; among equals the first one (see `Discovery.copies`).
    """

    def rank(copy: Found) -> tuple[int, bool, int]:
        origin = _PROVENANCE_ORDER.index(getattr(inspections[copy.path], "provenance", "unknown"))
        return min(origin, 1), copy.path.suffix.lower() in LOSSY_EXTENSIONS, origin

    return min((it for it in copies if isinstance(inspections[it.path], Inspection)), key=rank, default=None)


def _no_clips(discovery: Discovery, missing: Iterable[str]) -> str:
    examples = (f"{' or '.join(CORPORA[name].examples)} ({name})" for name in missing if CORPORA[name].examples)
    ignored = ""
    if discovery.ignored:
        path, reason = discovery.ignored[0]
        ignored = f" ({len(discovery.ignored)} files ignored, such as {path.name}: {reason})"
    return (
        f"folder {discovery.root} holds no clip of {', '.join(missing)}{ignored}; recordings of your own need a table, "
        f"a metadata.csv or a folder for each label, and known corpora their published names, such as "
        f"{', '.join(examples)}"
    )


def _relative(discovery: Discovery, path: Path) -> str:
    # File names that are not UTF-8 are escaped: the report could not be written otherwise.
    return path.relative_to(discovery.root).as_posix().encode("utf-8", "backslashreplace").decode()


def _label(
    rows: Iterable[dict[str, Any]], label_scheme: LabelScheme, votes: Mapping[str, Votes]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return the clips with their votes and, for CREMA-D, the label of the scheme; and the clips without a label."""
    labelled, rejected = [], []
    for row in rows:
        heard = votes.get(row["clip_id"])
        voted = row["corpus"] == "crema_d" and label_scheme != "intended"
        emotion, leaders = voted_emotion(heard, label_scheme) if heard and voted else (None, "")
        if voted and not emotion:
            fault = f"the votes are tied ({leaders})" if heard else f"no votes are known for {row['clip_id']}"
            detail = f"{fault}, and the label scheme is {label_scheme}"
            reason = "vote_tie" if heard else "no_votes"
            rejected.append(Finding(row["corpus"], row["file"], row["clip_id"], reason, detail))
        else:
            labelled.append(row | {"emotion": emotion or row["emotion"]} | (heard or {}))
    return labelled, rejected


def _compare(rows: Sequence[dict[str, Any]], label_scheme: LabelScheme) -> None:
    """Flag the clips whose samples another clip has too."""
    entries = [(row["clip_id"], row["pcm_sha1"], row["emotion"]) for row in rows]
    if label_scheme == "intended":
        # A clip whose published twin has another label is contradictory even if the twin is missing.
        present, held = {row["clip_id"] for row in rows}, {row["pcm_sha1"] for row in rows}
        absent = [it for it in originals().by_clip_id.values() if it.pcm_sha1 in held and it.clip_id not in present]
        clips = [parse(f"{original.clip_id}.wav") for original in absent]
        entries += [(it.clip_id, it.pcm_sha1, clip.emotion) for it, clip in zip(absent, clips, strict=True) if clip]
    repeated = repeated_samples(*zip(*entries, strict=True)) if entries else {}
    for row in rows:
        row["flags"] = {**row["flags"], **repeated.get(row["clip_id"], {})}
