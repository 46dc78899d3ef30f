"""Recordings of one's own as a folder of Parquet files, with a card that states facts alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from hf_ser import __version__
from hf_ser.corpora import CORPORA, licence_table
from hf_ser.corpora.originals import originals
from hf_ser.dataset.data_card import PLACE, WHERE, front_matter, licences_of, table_facts, write_records
from hf_ser.dataset.hygiene import FLAGS, Finding, repeated_samples
from hf_ser.dataset.layout import own_features, plan, write_files
from hf_ser.dataset.opening import gather
from hf_ser.dataset.proof import SplitProof, prove
from hf_ser.dataset.recordings import describe, repeated_recordings, with_groups
from hf_ser.dataset.source import refuse_overlap
from hf_ser.dataset.splits import protocols
from hf_ser.sound import read_file
from hf_ser.text import printable, render

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_ser.dataset.recordings import Descriptions


def build_own(
    dataset: Any, folder: Path, *, num_proc: int | None = None, allow_speaker_overlap: bool = False, **data: Any
) -> dict[str, Any]:
    """Write recordings into a new folder and return the report; for the arguments see `open_dataset`."""
    gathered = gather(dataset, "speaker_independent", **data)
    described = describe([gathered.rows])
    rows = with_groups(gathered.rows, described)
    clips = flagged(rows, gathered.labels, described)
    given = list(clips["split"]) if "split" in clips and clips["split"].notna().all() else None
    held = list(dict.fromkeys(sorted(clips["corpus"])))
    wanted = [it for it in protocols(held) if it not in ("stratified", "paper")]
    layout = plan(clips, wanted if len(held) > 1 else [it for it in wanted if not it.startswith("leave_out_")], given)
    pairs = repeated_recordings(rows, described)
    proofs = {protocol: _proof(clips, parts, pairs) for protocol, parts in layout.rows.items()}
    for protocol, proof in proofs.items():
        refuse_overlap(proof, gathered.subject, protocol, allow_speaker_overlap)
    features = own_features(clips.columns, gathered.labels)
    sizes = write_files(clips, layout, folder, num_proc, features, lambda clip: _content(rows, clip))
    flags = [(*names, flag) for *names, own in zip(clips["corpus"], clips["clip_id"], clips["flags"], strict=True)
             for flag in own]  # fmt: skip
    facts: dict[str, Any] = {
        "hf_ser": __version__,
        "name": gathered.facts["name"],
        "clips": len(clips),
        "hours": round(float(clips["duration"].sum()) / 3600, 3),
        "speakers": int(clips["speaker"].nunique()),
        "speakers_known": all(proof.speakers_known for proof in proofs.values()),
        "counts": {of: Counter(own["emotion"]) for of, own in clips.groupby("corpus")},
        **{it: gathered.facts[it] for it in ("languages", "licence", "acted")},
        "labels": list(gathered.labels),
        "labels_renamed": gathered.facts["renamed"],
        "rejected": [it._asdict() for it in gathered.facts["findings"]],
        "flagged": [
            Finding(of, printable(clip), clip, flag, FLAGS.get(flag, ""))._asdict() for of, clip, flag in flags
        ],
        "protocols": list(layout.rows),
        "protocols_left_out": dict(layout.left_out),
    }
    known = [CORPORA[it] for it in held if it in CORPORA]
    stated = licences_of(known) if len(known) == len(held) and not data.get("licence") else gathered.facts["licence"]
    front = front_matter(layout, sizes, len(clips), features, tags=held, pretty_name=gathered.facts["name"],
                         language=list(gathered.facts["languages"]), license=stated)  # fmt: skip
    card = render("own_data_card.md", **facts, **table_facts(layout, clips), front_matter=front, path=f'"{PLACE}"',
                  where=WHERE, proofs=proofs, columns=list(features), known=known, licences=licence_table(known),
                  flags=FLAGS, unknown=[it for it in held if it not in CORPORA])  # fmt: skip
    write_records(folder, facts, proofs, render("own_build_report.md", **facts), card)
    return facts


def flagged(rows: Dataset, labels: Sequence[str], described: Descriptions) -> pandas.DataFrame:
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


def _proof(clips: pandas.DataFrame, parts: Mapping[str, Sequence[int]], pairs: Any) -> SplitProof:
    """Prove a split; `pairs` are the rows of near-identical recordings."""
    place, ids = {row: part for part, rows in parts.items() for row in rows}, list(clips["clip_id"])
    both = [*pairs, *((second, first) for first, second in pairs)]
    recordings = {
        of: tuple((ids[a], ids[b]) for a, b in both if (place[a], place[b]) == of)
        for of in itertools.combinations(parts, 2)
    }
    return prove(clips.rename(columns={"audio_sha256": "sha256"}).to_dict("list"), parts, recordings)
