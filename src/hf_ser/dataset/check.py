"""What data is like before anything is trained on it, and whether `finetune` would take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.corpora.originals import level, originals
from hf_ser.dataset.hygiene import FLAGS
from hf_ser.dataset.opening import Gathered, gather
from hf_ser.dataset.own_build import flagged
from hf_ser.dataset.proof import UNKNOWN_WARNING
from hf_ser.dataset.recordings import describe, repeated_recordings, with_groups
from hf_ser.dataset.source import divide
from hf_ser.dataset.splits import check_protocol
from hf_ser.errors import InputError
from hf_ser.files import new_folder, write_json
from hf_ser.text import aligned, printable, render

if TYPE_CHECKING:
    import pandas

# Okabe and Ito's colours, which differ for the colour-blind, too.
_COLOURS = {
    "train": "#0072B2", "validation": "#E69F00", "test": "#009E73", "left out": "#999999", "not split": "#56B4E9",
}  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class DataCheck:
    """What `check_dataset` found: `facts` as in `check.json`, and in `clips` a row for each clip."""

    facts: Mapping[str, Any]
    clips: pandas.DataFrame | None = None

    @property
    def refused(self) -> str | None:
        """Why `finetune` would refuse the data; None if it would not."""
        reason: str | None = self.facts["refused"]
        return reason

    def render(self) -> str:
        """Return what was found as plain text."""
        facts = {"clips": None, "parts": None, **self.facts}
        return render(
            "check.txt", aligned=aligned, printable=printable, meaning=FLAGS, unknown=UNKNOWN_WARNING, **facts
        ).rstrip()

    def __repr__(self) -> str:
        return self.render()

    def save(self, folder: str | Path) -> Path:
        """Write `check.json`, and `check.png` with labels by source and part, durations and levels."""
        folder = new_folder(folder)
        write_json(folder / "check.json", self.facts)
        if self.clips is not None:
            _plot(self.clips, list(self.facts["labels"]), folder / "check.png")
        return folder


def check_dataset(
    dataset: Any, protocol: str = "speaker_independent", *, allow_speaker_overlap: bool = False, **data: Any
) -> DataCheck:
    """Check data before training: what is there, what is wrong with it, how it splits, and what training would do.

    The arguments are those of `open_dataset`. Data that `finetune` would refuse is no error here: the reason is in
    `DataCheck.refused`.

    Example:
        >>> check_dataset("no_such_folder").refused
        "data set 'no_such_folder': there is no such folder or file; give a folder of recordings, a table, or ..."
    """
    try:
        check_protocol(protocol)
        gathered = gather(dataset, protocol, **data)
    except InputError as error:
        return DataCheck({"refused": str(error)})
    described = describe([gathered.rows])
    rows = with_groups(gathered.rows, described)
    clips, published = flagged(rows, gathered.labels, described), originals()
    clips["level_db"] = [
        described[it].level_db if it in described else max(level(published.with_digest(it)[0].rms), -200.0)
        for it in clips["audio_sha256"]
    ]
    ids = list(clips["clip_id"])
    pairs = repeated_recordings(rows, described)
    facts = {**_found(gathered, clips), "near_identical": [(ids[first], ids[second]) for first, second in pairs]}
    try:
        source = divide(gathered, protocol, allow_speaker_overlap, described)
    except InputError as error:
        return DataCheck({**facts, "refused": str(error)}, clips.assign(part="not split"))
    place = {clip: part for part, own in source.parts.items() for clip in own["clip_id"]}
    training = {
        part: {"clips": len(own), "speakers": len(set(own["speaker"])), "labels": len(set(own["emotion"]))}
        for part, own in source.parts.items()
    }
    facts |= {"protocol": source.protocol, "split": source.proof.as_dict(), "parts": training}
    facts |= {"left_out_of_training": dict(source.left_out), "refused": None}
    return DataCheck(facts, clips.assign(part=[place.get(it, "left out") for it in ids]))


def _found(gathered: Gathered, clips: pandas.DataFrame) -> dict[str, Any]:
    """Return what is there, and what is wrong with it, in types that JSON has."""
    seconds, flagged = clips["duration"], clips[clips["flags"].map(bool)]
    counts = clips.groupby(["emotion", "corpus"]).size()
    rates = clips["sampling_rate"].value_counts().sort_index()
    return {
        "name": gathered.facts["name"],
        "columns": {of: dict(columns) for of, columns in gathered.columns.items() if columns},
        "clips": len(clips),
        "hours": round(float(seconds.sum()) / 3600, 4),
        "seconds": {"shortest": float(seconds.min()), "median": seconds.median(), "longest": float(seconds.max())},
        "labels": {label: {of: int(n) for of, n in counts[label].items()} for label in gathered.labels},
        "synonyms": dict(sorted(gathered.spelled.items())),
        "speakers": {of: int(n) for of, n in clips.groupby("corpus")["speaker"].nunique().items()},
        "sampling_rates": {str(rate): int(n) for rate, n in rates.items()},
        "languages": list(gathered.facts["languages"]),
        **{name: gathered.facts[name] for name in ("licence", "acted")},
        "left_out": [it._asdict() for it in gathered.facts["findings"]],
        "flags": dict(sorted(Counter(flag for own in flagged["flags"] for flag in own).items())),
        "flagged": dict(zip(flagged["clip_id"], flagged["flags"], strict=True)),
    }


def _plot(clips: pandas.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Draw the clips of each label by source and part, and histograms of durations and levels."""
    from matplotlib.figure import Figure

    counts = clips.groupby(["corpus", "emotion", "part"]).size().unstack("part", fill_value=0)
    order = [(of, label) for of in sorted(set(clips["corpus"])) for label in labels if (of, label) in counts.index]
    figure = Figure(figsize=(10, 5 + 0.3 * len(order)), layout="constrained")
    axes: Any = figure.subplot_mosaic(
        [["bars", "bars"], ["duration", "level_db"]], height_ratios=[1 + 0.1 * len(order), 1]
    )
    parts = [it for it in _COLOURS if it in counts]
    shown = counts.loc[order[::-1], parts].set_axis([": ".join(it) for it in order[::-1]])
    shown.plot.barh(stacked=True, ax=axes["bars"], color=_COLOURS)
    axes["bars"].set(xlabel="clips", ylabel="")
    for column, title in (("duration", "duration (s)"), ("level_db", "level (dBFS, RMS)")):
        for of, own in clips.groupby("corpus"):
            # A silent clip would stretch the axis.
            axes[column].hist(own[column].clip(lower=-80), bins=40, histtype="step", linewidth=1.5, label=of)
        axes[column].set(xlabel=title, ylabel="clips")
    axes["duration"].legend(frameon=False)
    figure.savefig(file, dpi=120)
