"""What a build found: counts beside the paper's Table 2, and every file with something wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hf_ser._version import __version__
from hf_ser.corpora import CORPORA
from hf_ser.dataset.collection import Collection, Finding
from hf_ser.dataset.hygiene import FLAGS
from hf_ser.dataset.originals import originals
from hf_ser.labels import EMOTIONS
from hf_ser.text import markdown_table

__all__ = ["REASONS", "render_report", "report"]

REASONS: Final[Mapping[str, str]] = {
    "lfs_pointer": "a Git LFS pointer in the place of audio",
    "unreadable": "not audio that can be read, or empty",
    "second_copy": "a further copy of a clip, such as in a nested second copy of the corpus",
    "song_or_video": "a song or video recording of RAVDESS",
    "not_a_clip": "a recording whose name is that of no clip",
    "other_corpus": "a clip of a corpus other than the one that the folder was given for",
    "unsafe_path": "a member of a zip file whose path leads out of its folder, or a link",
    "no_votes": "a CREMA-D clip without votes, under a label scheme by votes",
    "vote_tie": "a CREMA-D clip whose votes are tied, under a label scheme by votes",
    **FLAGS,
}
"""The reasons for which a file is rejected or flagged, each with what it means."""


def report(collection: Collection, protocols: Sequence[str], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the report of a build in types that JSON knows.

    Args:
        collection: The clips and findings.
        protocols: The protocols that the data set has configurations for.
        left_out: Why it has none for the others.
    """
    counts = {name: dict.fromkeys(EMOTIONS, 0) for name in collection.corpora}
    provenance = {name: {"original": 0, "re_encoded": 0, "unknown": 0} for name in collection.corpora}
    for entry in collection.clips:
        counts[entry.clip.corpus][entry.emotion] += 1
        provenance[entry.clip.corpus][entry.inspection.provenance] += 1
    present = {entry.clip.clip_id for entry in collection.clips}
    missing = [
        clip_id
        for clip_id in originals().by_clip_id
        if clip_id.partition("/")[0] in collection.corpora and clip_id not in present
    ]
    return {
        "hf_ser": __version__,
        "label_scheme": collection.label_scheme,
        "clips": len(collection.clips),
        "hours": round(sum(entry.inspection.duration for entry in collection.clips) / 3600, 3),
        "counts": counts,
        "table_2": {name: dict.fromkeys(EMOTIONS, 0) | dict(CORPORA[name].counts) for name in collection.corpora},
        "provenance": provenance,
        "rejected": [finding._asdict() for finding in collection.rejected],
        "flagged": [finding._asdict() for finding in collection.flagged],
        "missing": missing,
        "protocols": list(protocols),
        "protocols_left_out": dict(left_out),
    }


def render_report(facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    blocks = [
        "# Build report",
        f"{facts['clips']:,} clips, {facts['hours']:.2f} hours; label scheme `{facts['label_scheme']}`; "
        f"written by hf_ser {facts['hf_ser']}.",
        "## Clips by corpus and emotion, beside the paper's Table 2",
        _counts(facts),
    ]
    if facts["label_scheme"] != "intended":
        blocks.append("Table 2 counts intended emotions; under this label scheme CREMA-D's counts differ from it.")
    blocks += [
        "## Where the files come from",
        "`original`: the bytes of a published file, by SHA-256. `re_encoded`: the same samples in other bytes, or the "
        "original's length and level. `unknown`: neither.",
        markdown_table(
            ["corpus", "original", "re_encoded", "unknown", "missing"],
            [
                [name, *(f"{number:,}" for number in origins.values()), f"{_missing(facts, name):,}"]
                for name, origins in facts["provenance"].items()
            ],
            numbers=False,
        ),
    ]
    for title, key, meaning in (
        ("Rejected", "rejected", "These files are not in the data set."),
        ("Flagged", "flagged", "These clips are in the data set, with the reason in the column `flags`."),
    ):
        findings = [Finding(**entry) for entry in facts[key]]
        blocks += [f"## {title}: {len(findings):,}", meaning if findings else "None.", *_findings(findings)]
    if facts["protocols_left_out"]:
        blocks.append("## Protocols without a configuration")
        blocks.append("\n".join(f"- `{name}`: {reason}" for name, reason in facts["protocols_left_out"].items()))
    return "\n\n".join(blocks) + "\n"


def _missing(facts: Mapping[str, Any], corpus: str) -> int:
    return sum(clip_id.startswith(f"{corpus}/") for clip_id in facts["missing"])


def _counts(facts: Mapping[str, Any]) -> str:
    def cell(found: int, published: int) -> str:
        return f"{found:,}" if found == published else f"{found:,} of {published:,}"

    rows = []
    for name, counts in facts["counts"].items():
        published = facts["table_2"][name]
        cells = [cell(counts[emotion], published[emotion]) for emotion in EMOTIONS]
        rows.append([name, *cells, cell(sum(counts.values()), sum(published.values()))])
    return markdown_table(["corpus", *EMOTIONS, "all"], rows, numbers=False)


def _findings(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    tally = Counter(finding.reason for finding in findings)
    summary = [[f"`{reason}`", f"{number:,}", REASONS[reason]] for reason, number in sorted(tally.items())]
    blocks = [markdown_table(["reason", "files", "meaning"], summary, numbers=False)]
    listed = [[f"`{entry.file}`", entry.corpus, f"`{entry.reason}`", entry.detail] for entry in findings]
    return [*blocks, markdown_table(["file", "corpus", "reason", "what was found"], listed, numbers=False)]
