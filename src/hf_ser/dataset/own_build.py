"""Recordings of one's own as a folder of Parquet files, with a card that states facts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from hf_ser import __version__
from hf_ser.corpora import CORPORA, licence_table
from hf_ser.corpora.originals import originals
from hf_ser.dataset.data_card import PLACE, WHERE, front_matter, licences_of, table_facts, write_records
from hf_ser.dataset.hygiene import FLAGS, Finding, found_flags
from hf_ser.dataset.layout import own_features, plan, write_files
from hf_ser.dataset.opening import gather
from hf_ser.dataset.proof import prove
from hf_ser.dataset.recordings import describe, with_groups
from hf_ser.dataset.source import refuse_overlap
from hf_ser.dataset.splits import protocols
from hf_ser.dataset.tables import audio_bytes
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
    columns = clips.rename(columns={"audio_sha256": "sha256"}).to_dict("list")
    proofs = {protocol: prove(columns, parts, described.pairs) for protocol, parts in layout.rows.items()}
    for protocol, proof in proofs.items():
        refuse_overlap(proof, gathered.subject, protocol, allow_speaker_overlap)
    features = own_features(clips.columns, gathered.labels)
    sizes = write_files(clips, layout, folder, num_proc, features, lambda clip: audio_bytes(rows[clip["row"]]["audio"]))
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
            Finding(it.corpus, printable(it.clip_id), it.clip_id, flag, FLAGS.get(flag, ""))._asdict()
            for it in clips.itertuples()
            for flag in it.flags
        ],
        "protocols": list(layout.rows),
        "protocols_left_out": dict(layout.left_out),
    }
    known = [CORPORA[it] for it in held if it in CORPORA]
    stated = licences_of(known) if len(known) == len(held) and not data.get("licence") else gathered.facts["licence"]
    front = front_matter(layout, sizes, features, held, pretty_name=gathered.facts["name"],
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
    given = rows["flags"][:] if "flags" in rows.column_names else [None] * len(frame)
    clipped = [["clipped"] * any(it.clipped for it in originals().with_digest(sha)) for sha in frame["audio_sha256"]]
    flags = zip(given, found_flags(rows, labels, described), clipped, strict=True)
    frame["flags"] = pandas.Series(
        [list(dict.fromkeys([*(of or ()), *own, *more])) for of, own, more in flags], dtype=object
    )
    frame["row"] = range(len(frame))
    frame["path"] = [Path(it) for it in frame["clip_id"]]
    return frame
