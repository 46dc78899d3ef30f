"""Recordings of one's own as a folder of Parquet files, with a card that states facts alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from hf_ser import __version__
from hf_ser.corpora import CORPORA, licence_table
from hf_ser.corpora.originals import originals
from hf_ser.dataset.data_card import PLACE, WHERE, configuration_table, front_matter, licences_of, render, shared
from hf_ser.dataset.gather import gather
from hf_ser.dataset.hygiene import FLAGS, repeated_samples
from hf_ser.dataset.layout import own_form, plan
from hf_ser.dataset.parquet import write_files
from hf_ser.dataset.proof import SplitProof, prove
from hf_ser.dataset.recordings import describe, repeated_recordings
from hf_ser.dataset.source import refuse_overlap, with_known_groups
from hf_ser.dataset.splits import protocols
from hf_ser.files import write_json, write_text
from hf_ser.sound import read_file
from hf_ser.text import markdown_table, printable

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_ser.dataset.recordings import Described


def build_own(
    dataset: Any, folder: Path, *, num_proc: int | None = None, allow_speaker_overlap: bool = False, **data: Any
) -> dict[str, Any]:
    """Write recordings into a new folder and return the report; for the arguments see `open_dataset`."""
    gathered = gather(dataset, "speaker_independent", **data)
    described = describe([gathered.rows])
    rows = with_known_groups(gathered.rows, described)
    clips = flagged(rows, gathered.labels, described)
    given = list(clips["split"]) if "split" in clips and clips["split"].notna().all() else None
    held = list(dict.fromkeys(sorted(clips["corpus"])))
    wanted = [it for it in protocols(held) if it not in ("stratified", "paper")]
    layout = plan(clips, wanted if len(held) > 1 else [it for it in wanted if not it.startswith("leave_out_")], given)
    pairs = repeated_recordings(rows, described) if described else []
    proofs = {protocol: _proof(clips, parts, pairs) for protocol, parts in layout.rows.items()}
    for protocol, proof in proofs.items():
        refuse_overlap(proof, gathered.subject, protocol, allow_speaker_overlap)
    form = own_form(clips.columns, gathered.labels)
    sizes = write_files(clips, layout, folder, num_proc, form, lambda clip: _content(rows, clip))
    facts: dict[str, Any] = {
        "hf_ser": __version__,
        "name": gathered.name,
        "clips": len(clips),
        "hours": round(float(clips["duration"].sum()) / 3600, 3),
        "speakers": int(clips["speaker"].nunique()),
        "speakers_known": all(proof.speakers_known for proof in proofs.values()),
        "counts": {of: own["emotion"].value_counts().sort_index().to_dict() for of, own in clips.groupby("corpus")},
        **{name: getattr(gathered, name) for name in ("languages", "licence", "acted", "labels")},
        "labels_renamed": dict(gathered.reading.labels),
        "rejected": [it._asdict() for it in gathered.findings],
        "flagged": _findings(clips),
        "protocols": list(layout.rows),
        "protocols_left_out": dict(layout.left_out),
    }
    write_json(folder / "build_report.json", facts)
    write_text(folder / "build_report.md", render("own_build_report.md", finding_table=_table, **facts))
    write_json(folder / "split_proof.json", {protocol: proof.as_dict() for protocol, proof in proofs.items()})
    default = next(iter(layout.configurations))
    known = [CORPORA[it] for it in held if it in CORPORA]
    front = front_matter(
        layout, sizes, len(clips), form,
        pretty_name=gathered.name, language=list(facts["languages"]), tags=held,
        license=licences_of(known) if len(known) == len(held) and not data.get("licence") else gathered.licence,
    )  # fmt: skip
    card = render(
        "own_data_card.md", front_matter=front, path=f'"{PLACE}"', where=WHERE, default=f'"{default}"', proofs=proofs,
        columns=list(form.types), configurations=configuration_table(layout, default), shared=shared, flags=FLAGS,
        label_table=_label_table(facts), corpora_table=_corpora(clips), licences=licence_table(known),
        unknown=[it for it in held if it not in CORPORA],
        citations="\n\n".join(it.citation for it in known), **facts,
    )  # fmt: skip
    write_text(folder / "README.md", card)
    return facts


def flagged(rows: Dataset, labels: Sequence[str], described: Mapping[str, Described]) -> pandas.DataFrame:
    """Return the clips as a table without their audio, with labels by name and what was found wrong in `flags`.

    `path` is that of the file, or the name that the data gives it, and `row` the place in `rows`.
    """
    frame = pandas.DataFrame({name: rows[name][:] for name in rows.column_names if name not in ("audio", "flags")})
    frame["emotion"] = [labels[it] for it in frame["emotion"]]
    known = originals()
    digests = list(frame["audio_sha256"])
    samples = [(described[it].pcm_sha1 if it in described else "") or it for it in digests]
    repeated = repeated_samples([str(row) for row in range(len(frame))], samples, frame["emotion"])
    given = rows["flags"][:] if "flags" in rows.column_names else [None] * len(frame)
    flags = []
    for row, digest in enumerate(digests):
        own = described[digest].flags if digest in described else ()
        clipped = ("clipped",) if any(it.clipped for it in known.with_digest(digest)) and not own else ()
        flags.append(list(dict.fromkeys([*(given[row] or ()), *repeated.get(str(row), ()), *own, *clipped])))
    frame["flags"] = pandas.Series(flags, dtype=object)
    frame["row"] = range(len(frame))
    frame["path"] = [Path(it) for it in frame["clip_id"]]
    return frame


def _content(rows: Dataset, clip: Mapping[str, Any]) -> bytes:
    audio = rows[clip["row"]]["audio"]
    content: bytes = read_file(audio["path"]) if audio["bytes"] is None else audio["bytes"]
    return content


def _proof(clips: pandas.DataFrame, parts: Mapping[str, Sequence[int]], pairs: Sequence[tuple[int, int]]) -> SplitProof:
    place = {row: part for part, rows in parts.items() for row in rows}
    ids = list(clips["clip_id"])
    shared: dict[tuple[str, str], list[tuple[str, str]]] = {of: [] for of in itertools.combinations(parts, 2)}
    for pair in pairs:
        first, second = sorted(pair, key=lambda row: list(parts).index(place[row]))
        if (of := (place[first], place[second])) in shared:
            shared[of].append((ids[first], ids[second]))
    columns = clips.drop(columns=["path", "row"]).rename(columns={"audio_sha256": "sha256"})
    return prove(columns.to_dict("list"), parts, {of: tuple(found) for of, found in shared.items()})


def _findings(clips: pandas.DataFrame) -> list[dict[str, Any]]:
    found = zip(clips["corpus"], clips["clip_id"], clips["flags"], strict=True)
    return [
        {
            "corpus": corpus,
            "file": printable(clip_id),
            "clip_id": clip_id,
            "reason": flag,
            "detail": FLAGS.get(flag, ""),
        }
        for corpus, clip_id, flags in found
        for flag in flags
    ]


def _table(findings: Sequence[Mapping[str, str]]) -> str:
    rows = [[f"`{it['file']}`", it["corpus"], f"`{it['reason']}`", it["detail"]] for it in findings]
    return markdown_table(["file", "corpus", "reason", "what was found"], rows, numbers=False)


def _label_table(facts: Mapping[str, Any]) -> str:
    rows = [[of, *(f"{counts.get(it, 0):,}" for it in facts["labels"])] for of, counts in facts["counts"].items()]
    return markdown_table(["corpus", *facts["labels"]], rows)


def _corpora(clips: pandas.DataFrame) -> str:
    rows = []
    for corpus, own in clips.groupby("corpus"):
        seconds = own["duration"]
        lengths = (seconds.sum() / 3600, seconds.min(), seconds.median(), seconds.max())
        rates = ", ".join(f"{rate:,}" for rate in sorted(own["sampling_rate"].unique()))
        rows.append([f"`{corpus}`", f"{own['speaker'].nunique():,}", *(f"{it:.2f}" for it in lengths), rates])
    header = ["corpus", "speakers", "hours", "shortest (s)", "median (s)", "longest (s)", "sampling rates (Hz)"]
    return markdown_table(header, rows, numbers=(1, 2, 3, 4, 5))
