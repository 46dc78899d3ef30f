"""The report of a build: counts compared with the paper's Table 2, and every file with something wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, Final, get_args

from jinja2 import Environment, StrictUndefined

from hf_ser._version import __version__
from hf_ser.corpora import CORPORA
from hf_ser.dataset.collection import Collection
from hf_ser.dataset.hygiene import FLAGS
from hf_ser.dataset.originals import Provenance, originals
from hf_ser.labels import EMOTIONS
from hf_ser.text import markdown_table

__all__ = ["REASONS", "count_table", "printable", "render", "render_report", "report"]

REASONS: Final[Mapping[str, str]] = {
    "lfs_pointer": "a Git LFS pointer instead of audio",
    "unreadable": "empty, or not audio that can be read",
    "second_copy": "a further copy of a clip, such as in a nested second copy of the corpus",
    "song_or_video": "a song or video recording of RAVDESS",
    "not_a_clip": "a recording whose name is not that of a clip",
    "other_corpus": "a clip of another corpus than the one that the folder was given for",
    "unsafe_path": "a member of a zip file whose path leads out of its folder, or a link",
    "no_votes": "a CREMA-D clip without votes, under a label scheme that uses votes",
    "vote_tie": "a CREMA-D clip whose votes are tied, under a label scheme that uses votes",
    **FLAGS,
}
"""The reasons for which a file is rejected or flagged, each with its meaning."""


def printable(text: str) -> str:
    """Return a text with escapes instead of control characters and undecodable bytes, as file names can have."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


def report(collection: Collection, protocols: Iterable[str], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the report of a build as JSON types; `left_out` says why the data set lacks the other protocols."""
    clips, present = collection.clips, set(collection.clips["clip_id"])
    of_corpus = {name: clips[clips["corpus"] == name] for name in collection.corpora}
    published = (clip_id for clip_id in originals().by_clip_id if clip_id.partition("/")[0] in of_corpus)
    findings = {
        kind: [
            entry._asdict() | {"file": printable(entry.file), "detail": printable(entry.detail)}
            for entry in getattr(collection, kind)
        ]
        for kind in ("rejected", "flagged")
    }

    def count(column: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
        return {of: dict.fromkeys(names, 0) | rows[column].value_counts().to_dict() for of, rows in of_corpus.items()}

    return {
        "hf_ser": __version__,
        "label_scheme": collection.label_scheme,
        "clips": len(clips),
        "hours": round(sum(clips["duration"]) / 3600, 3),
        "counts": count("emotion", EMOTIONS),
        "table_2": {name: dict.fromkeys(EMOTIONS, 0) | dict(CORPORA[name].counts) for name in of_corpus},
        "provenance": count("provenance", get_args(Provenance)),
        **findings,
        "missing": [clip_id for clip_id in published if clip_id not in present],
        "protocols": list(protocols),
        "protocols_left_out": dict(left_out),
    }


def render_report(facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    missing = Counter(clip_id.partition("/")[0] for clip_id in facts["missing"])
    tables = {"count_table": count_table(facts), "reasons": REASONS, "finding_table": _finding_table}
    return render("build_report.md", **facts, **tables, missing_clips=missing)


def render(template: str, **values: Any) -> str:
    """Return a Markdown template of this package, filled in."""
    text = resources.files("hf_ser").joinpath("templates", template).read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(text).render(**values)


def count_table(facts: Mapping[str, Any]) -> str:
    """Return a Markdown table of the clips by corpus and emotion, such as `4 of 60` where clips are missing."""

    def cell(found: int, published: int) -> str:
        return f"{found:,}" if found == published else f"{found:,} of {published:,}"

    rows = []
    for name, counts in facts["counts"].items():
        published = facts["table_2"][name]
        cells = [cell(counts[emotion], published[emotion]) for emotion in EMOTIONS]
        rows.append([name, *cells, cell(sum(counts.values()), sum(published.values()))])
    return markdown_table(["corpus", *EMOTIONS, "all"], rows)


def _finding_table(findings: Sequence[Mapping[str, str]]) -> str:
    rows = [[f"`{it['file']}`", it["corpus"], f"`{it['reason']}`", it["detail"]] for it in findings]
    return markdown_table(["file", "corpus", "reason", "what was found"], rows, numbers=False)
