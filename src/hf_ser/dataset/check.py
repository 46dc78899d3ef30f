"""What data is like before anything is trained on it, and whether `finetune` would take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.corpora.originals import level, originals
from hf_ser.dataset.columns import Reading
from hf_ser.dataset.hygiene import FLAGS
from hf_ser.dataset.own_build import flagged
from hf_ser.dataset.recordings import describe, repeated_recordings
from hf_ser.dataset.source import Gathered, divide, gather, with_known_groups
from hf_ser.dataset.splits import check_protocol
from hf_ser.errors import InputError
from hf_ser.files import write_json
from hf_ser.text import aligned, printable

if TYPE_CHECKING:
    import pandas

    from hf_ser.dataset.source import Source

_SHOWN = 5


@dataclass(frozen=True, slots=True, repr=False)
class DataCheck:
    """What `check_dataset` found.

    Attributes:
        facts: The content of `check.json`: what was found, what is wrong with it, the split and its proof, and in
            `refused` why `finetune` would refuse the data (None if it would not).
        clips: One row for each clip: its source, label, speaker, part, duration in seconds, level in dBFS, and flags.
    """

    facts: Mapping[str, Any]
    clips: pandas.DataFrame | None = None

    @property
    def refused(self) -> str | None:
        """Why `finetune` would refuse the data; None if it would not."""
        reason: str | None = self.facts["refused"]
        return reason

    def render(self) -> str:
        """Return what was found as plain text."""
        return "\n\n".join(_sections(self.facts))

    def __repr__(self) -> str:
        return self.render()

    def save(self, folder: str | Path) -> Path:
        """Write `check.json`, and `check.png` with labels by source and part, durations and levels.

        Raises:
            InputError: The folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"folder '{folder}' cannot be created ({error.strerror}); choose another one") from error
        write_json(folder / "check.json", self.facts)
        if self.clips is not None:
            from hf_ser.dataset.check_plot import plot_clips

            plot_clips(self.clips, list(self.facts["labels"]), folder / "check.png")
        return folder


def check_dataset(
    dataset: Any,
    protocol: str = "speaker_independent",
    *,
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str | None] | None = None,
    speaker_pattern: str | None = None,
    speakers: str | None = None,
    strict: bool = False,
    allow_speaker_overlap: bool = False,
    name: str | None = None,
    language: str | Sequence[str] | None = None,
    licence: str | None = None,
    acted: bool | None = None,
    **options: Any,
) -> DataCheck:
    """Check data before training: what is there, what is wrong with it, how it splits, and what training would do.

    The arguments are those of `open_dataset`. Data that `finetune` would refuse is no error here: the reason is in
    `DataCheck.refused`.

    Example:
        >>> check_dataset("no_such_folder").refused
        "data set 'no_such_folder': there is no such folder or file; give a folder of recordings, a table, or ..."
    """
    reading = Reading(columns or {}, labels or {}, speaker_pattern, speakers)
    try:
        check_protocol(protocol)
        gathered = gather(dataset, protocol, reading, name=name, strict=strict, **options)
    except InputError as error:
        return DataCheck({"refused": str(error)})
    described = describe([gathered.rows])
    rows = with_known_groups(gathered.rows, described)
    clips = flagged(rows, gathered.labels, described)
    known = originals()
    published = {it: known.with_digest(it) for it in clips["audio_sha256"]}
    clips["level_db"] = [
        described[it].level_db if it in described else max(level(published[it][0].rms), -200.0)
        for it in clips["audio_sha256"]
    ]
    own = gathered.facts(language, licence, acted)
    facts: dict[str, Any] = {"name": gathered.name, **_found(gathered, clips, reading), **own}
    pairs = repeated_recordings(rows, described) if described else []
    ids = list(clips["clip_id"])
    facts["near_identical"] = [(ids[first], ids[second]) for first, second in pairs]
    try:
        source = divide(gathered, protocol, allow_speaker_overlap, renamed=dict(reading.labels), **own)
    except InputError as error:
        return DataCheck({**facts, "refused": str(error)}, clips.assign(part="not split"))
    place = {clip: part for part, rows in source.parts.items() for clip in rows["clip_id"]}
    facts |= {"split": source.proof.as_dict(), "protocol": source.protocol, "training": _training(source)}
    return DataCheck({**facts, "refused": None}, clips.assign(part=[place.get(it, "left out") for it in ids]))


def _found(gathered: Gathered, clips: pandas.DataFrame, reading: Reading) -> dict[str, Any]:
    flags = Counter(flag for own in clips["flags"] for flag in own)
    seconds = clips["duration"]
    return {
        "sources": {it.name: {"path": it.path, "columns": dict(gathered.columns[it.name])} for it in gathered.opened},
        "clips": len(clips),
        "hours": round(float(seconds.sum()) / 3600, 4),
        "seconds": {
            "shortest": float(seconds.min()),
            "median": float(seconds.median()),
            "longest": float(seconds.max()),
        },
        "labels": {
            label: {of: int(count) for of, count in own["corpus"].value_counts().sort_index().items()}
            for label, own in ((label, clips[clips["emotion"] == label]) for label in gathered.labels)
        },
        "synonyms": dict(sorted(reading.spelled.items())),
        "speakers": {of: int(count) for of, count in clips.groupby("corpus")["speaker"].nunique().items()},
        "sampling_rates": {str(rate): int(n) for rate, n in clips["sampling_rate"].value_counts().sort_index().items()},
        "left_out": [it._asdict() for it in gathered.findings],
        "flags": dict(sorted(flags.items())),
        "flagged": [
            {"clip_id": clip_id, "flags": list(own)}
            for clip_id, own in zip(clips["clip_id"], clips["flags"], strict=True)
            if own
        ],
    }


def _training(source: Source) -> dict[str, Any]:
    return {
        part: {"clips": len(rows), "speakers": len(set(rows["speaker"])), "labels": len(set(rows["emotion"]))}
        for part, rows in source.parts.items()
    } | {"left_out": dict(source.left_out)}


def _sections(facts: Mapping[str, Any]) -> list[str]:
    verdict = f"finetune would refuse this: {facts['refused']}" if facts["refused"] else "finetune would take this."
    if "clips" not in facts:
        return [verdict]
    seconds, sources = facts["seconds"], list(facts["speakers"])
    spoken = ", ".join(facts["languages"]) or "not known (--language says it)"
    rates = ", ".join(f"{rate} Hz ({count:,})" for rate, count in facts["sampling_rates"].items())
    lines = [
        ["data", printable(facts["name"])],
        ["clips", f"{facts['clips']:,}, {facts['hours']:.2f} hours"],
        ["length", f"{seconds['shortest']:.2f} to {seconds['longest']:.2f} s, median {seconds['median']:.2f} s"],
        ["speakers", ", ".join(f"{count:,} in {of}" for of, count in facts["speakers"].items())],
        ["languages", spoken],
        ["rates", rates],
    ]
    lines += [
        [f"columns of {of}", ", ".join(f"{role}: {it}" for role, it in own["columns"].items())]
        for of, own in facts["sources"].items()
    ]
    if facts["synonyms"]:
        lines.append(["taken as", ", ".join(f"{old}: {new or 'dropped'}" for old, new in facts["synonyms"].items())])
    table = [["label", *sources, "all"]]
    for label, counts in facts["labels"].items():
        table.append([label, *(f"{counts.get(of, 0):,}" for of in sources), f"{sum(counts.values()):,}"])
    wrong = [f"{count:,} {flag}: {FLAGS.get(flag, '')}" for flag, count in facts["flags"].items()]
    wrong += [f"{len(facts['near_identical']):,} pairs are near-identical"] if facts["near_identical"] else []
    gone = facts["left_out"]
    listed = [f"  {printable(it['file'])}: {it['detail']} ({it['reason']})" for it in gone[:_SHOWN]]
    more = [f"  and {len(gone) - _SHOWN:,} more (--json lists all)"] if len(gone) > _SHOWN else []
    sections = [
        aligned(lines, right=()),
        aligned(table),
        "\n".join([f"left out: {len(gone):,} rows and files", *listed, *more]),
        "\n".join(["hygiene: nothing was found"] if not wrong else ["hygiene:", *(f"  {line}" for line in wrong)]),
    ]
    if "training" in facts:
        proof = facts["split"]
        shared = {pair: sum(len(found or ()) for found in it.values()) for pair, it in proof["overlaps"].items()}
        parts = {part: it for part, it in facts["training"].items() if part != "left_out"}
        split = [["part", "clips", "speakers" if proof["speakers_known"] else "groups", "labels"]]
        split += [[part, *(f"{it[key]:,}" for key in ("clips", "speakers", "labels"))] for part, it in parts.items()]
        claim = "no speaker and no recording is in two parts" if proof["speaker_disjoint"] else "the parts overlap"
        if not proof["speakers_known"]:
            claim = "the speakers are not known: the parts may share them, and figures may be inflated"
        sentences = [pair for pair, it in proof["overlaps"].items() if it["sentences"] and shared[pair]]
        claim += "; parts share sentences" if sentences else ""
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in facts["training"]["left_out"].items())
        sections.append(f"split '{facts['protocol']}': {claim}\n{aligned(split)}")
        if dropped:
            sections[-1] += f"\nleft out of training: {dropped}"
    return [*sections, verdict]
