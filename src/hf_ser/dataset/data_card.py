"""The README of a built data set: metadata for the Hub and `datasets`, and the data card."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml

from hf_ser.corpora import CORPORA, Corpus, licence_table
from hf_ser.dataset.collection import CollectedClip, Collection
from hf_ser.dataset.layout import Configuration, Layout
from hf_ser.dataset.originals import originals
from hf_ser.dataset.proof import PAPER_WARNING, SplitProof
from hf_ser.dataset.report import REASONS, count_table, render
from hf_ser.dataset.splits import PROTOCOLS
from hf_ser.dataset.tables import feature_list
from hf_ser.labels import EMOTIONS
from hf_ser.text import markdown_table

__all__ = ["ShardSize", "card_of_repository", "render_data_card"]

_PLACE: Final = "USER/NAME"
_WHERE: Final = f'`"{_PLACE}"` stands for the path of this folder.'


class ShardSize(NamedTuple):
    """Size of a written file: number of clips, bytes of the columns in memory, bytes of the file."""

    rows: int
    bytes: int
    file_bytes: int


def render_data_card(
    collection: Collection,
    layout: Layout,
    sizes: Mapping[str, ShardSize],
    proofs: Mapping[str, SplitProof],
    facts: Mapping[str, Any],
) -> str:
    """Return the README of a data set, given its file sizes by path, its split proofs by protocol, and its report."""
    corpora = [CORPORA[name] for name in collection.corpora]
    return render(
        "data_card.md",
        front_matter=_front_matter(corpora, layout, sizes, len(collection.clips)),
        corpora=corpora,
        facts=facts,
        rejected=Counter(finding["reason"] for finding in facts["rejected"]),
        speakers=len({entry.clip.speaker for entry in collection.clips}),
        labels=[emotion for emotion in EMOTIONS if any(counts[emotion] for counts in facts["counts"].values())],
        path=f'"{_PLACE}"',
        where=_WHERE,
        default=f'"{layout.configurations[0].name}"',
        configurations=_configurations(layout, sizes),
        published=len(originals().by_clip_id),
        proofs=proofs,
        paper_warning=PAPER_WARNING,
        shared=_shared,
        counts=count_table(facts),
        durations=_durations(corpora, collection.clips),
        reasons=REASONS,
        licences=licence_table(corpora),
        closed=[corpus.short_title for corpus in corpora if not corpus.licence.redistribution],
    )


def card_of_repository(card: str, repo_id: str) -> str:
    """Return the card of a built data set with snippets that load it from the Hub.

    Example:
        >>> card_of_repository('load_dataset("USER/NAME", "all")', "me/speech")
        'load_dataset("me/speech", "all")'
    """
    return card.replace(f"{_WHERE}\n\n", "").replace(f'"{_PLACE}"', f'"{repo_id}"')


def _front_matter(corpora: Sequence[Corpus], layout: Layout, sizes: Mapping[str, ShardSize], clips: int) -> str:
    licences = list(dict.fromkeys(corpus.licence.id for corpus in corpora))
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    content: dict[str, Any] = {
        "pretty_name": f"Eight emotions ({', '.join(corpus.short_title for corpus in corpora)})",
        "language": sorted({corpus.language for corpus in corpora}),
        "license": licences if len(licences) > 1 else licences[0],
        "task_categories": ["audio-classification"],
        "tags": ["speech-emotion-recognition", "emotion", "audio", *(corpus.name for corpus in corpora)],
        "size_categories": [next((name for bound, name in bounds if clips < bound), "100K<n<1M")],
        "configs": [
            {
                "config_name": it.name,
                **({"default": True} if it is layout.configurations[0] else {}),
                "data_files": [{"split": part, "path": list(patterns)} for part, patterns in it.patterns.items()],
            }
            for it in layout.configurations
        ],
        "dataset_info": [_info(configuration, sizes) for configuration in layout.configurations],
    }
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)).rstrip()


def _info(configuration: Configuration, sizes: Mapping[str, ShardSize]) -> dict[str, Any]:
    files = {part: [sizes[shard.path] for shard in shards] for part, shards in configuration.splits.items()}
    splits = [
        {"name": part, "num_bytes": sum(it.bytes for it in of), "num_examples": sum(it.rows for it in of)}
        for part, of in files.items()
    ]
    return {
        "config_name": configuration.name,
        "features": feature_list(),
        "splits": splits,
        "download_size": sum(it.file_bytes for of in files.values() for it in of),
        "dataset_size": sum(it.bytes for of in files.values() for it in of),
    }


def _configurations(layout: Layout, sizes: Mapping[str, ShardSize]) -> str:
    rows = []
    for it in layout.configurations:
        counts = {part: f"{sum(sizes[shard.path].rows for shard in of):,}" for part, of in it.splits.items()}
        name = f"`{it.name}`" + (" (default)" if it is layout.configurations[0] else "")
        what = PROTOCOLS.get(it.name, "all clips, not split").removesuffix(" (the default)")
        if it.name in CORPORA:
            what = f"all clips of {CORPORA[it.name].short_title}, not split"
        rows.append([name, what, *(counts.get(part, "") for part in ("train", "validation", "test"))])
    return markdown_table(["configuration", "what it is", "train", "validation", "test"], rows, numbers=(2, 3, 4))


def _shared(proof: SplitProof, what: str) -> int:
    """Return how many speakers, sentences or identical samples the test split shares with the other splits."""
    overlaps = [getattr(overlap, what) or () for pair, overlap in proof.overlaps.items() if "test" in pair]
    return len({it for overlap in overlaps for it in overlap})


def _durations(corpora: Sequence[Corpus], clips: Sequence[CollectedClip]) -> str:
    rows = []
    for corpus in corpora:
        own = [entry for entry in clips if entry.clip.corpus == corpus.name]
        if own:
            lengths = [entry.inspection.duration for entry in own]
            sexes = Counter({entry.clip.speaker: entry.clip.sex for entry in own}.values())
            speakers = f"{sexes.total()} ({sexes['female']} female, {sexes['male']} male)"
            seconds = (sum(lengths) / 3600, min(lengths), statistics.median(lengths), max(lengths))
            rates = ", ".join(f"{rate:,}" for rate in sorted({entry.inspection.sampling_rate for entry in own}))
            rows.append([f"`{corpus.name}`", speakers, *(f"{it:.2f}" for it in seconds), rates])
    header = ["corpus", "speakers", "hours", "shortest (s)", "median (s)", "longest (s)", "sampling rates (Hz)"]
    return markdown_table(header, rows, numbers=(2, 3, 4, 5))
