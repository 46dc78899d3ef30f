"""The README of a built data set: what the Hub and `datasets` read, and what people should."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined

from hf_ser.corpora import CORPORA, Corpus, licence_table
from hf_ser.dataset.collection import CollectedClip, Collection
from hf_ser.dataset.hygiene import FLAGS
from hf_ser.dataset.layout import Configuration, Layout
from hf_ser.dataset.proof import PAPER_WARNING, SplitProof
from hf_ser.dataset.splits import PROTOCOLS
from hf_ser.dataset.tables import feature_list
from hf_ser.labels import EMOTIONS
from hf_ser.text import markdown_table

__all__ = ["ShardSize", "card_of_repository", "render_data_card"]

_PLACE: Final = "USER/NAME"
_WHERE: Final = f'`"{_PLACE}"` stands for the path of this folder.'
_COLUMNS: Final[Mapping[str, str]] = {
    "audio": "the file's bytes as they are; decoded to 16 kHz mono when it is read",
    "emotion": f"the label, one of {', '.join(EMOTIONS)}",
    "corpus": "`ravdess`, `crema_d`, `tess` or `savee`",
    "speaker": "unique across corpora, such as `crema_d_1001`",
    "sex": "`female` or `male`, as published",
    "age": "years; empty where it is not published for each speaker",
    "sentence": "code or word of the spoken text, within its corpus",
    "intensity": "`normal`, `strong`, `low`, `medium`, `high` or `unspecified`",
    "duration": "seconds",
    "sampling_rate": "Hz, of the stored file",
    "clip_id": "corpus and published file name without extension",
    "flags": "what is wrong with the clip, see below; mostly empty",
    "provenance": "`original` (a published file to the last bit, by SHA-256), `re_encoded` or `unknown`",
    "voice_votes": "CREMA-D: people by the emotion that they heard; empty where it is not known",
    "face_votes": "CREMA-D: the same for those who only saw the speaker",
    "multimodal_votes": "CREMA-D: the same for those who heard and saw the speaker",
}
# Exhaustive over the published files.
_FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "ravdess": (
        "`03-01-03-01-02-01-07` and `03-01-03-01-02-02-07` are the same recording.",
        "Five files are stereo with equal channels; clips begin and end with about 0.9 s of near-silence.",
    ),
    "crema_d": (
        "`1076_MTI_SAD_XX` is all zeros.",
        "Three pairs of files have the same samples and different labels: `1006_TIE_HAP_XX` and `1006_TIE_NEU_XX`, "
        "`1013_WSI_DIS_XX` and `1013_WSI_SAD_XX`, `1017_IWW_ANG_XX` and `1017_IWW_FEA_XX`.",
        "Five pairs are one take under two names, cut or encoded anew: `1017_IWL_ANG_XX` and `1017_IWL_FEA_XX`, "
        "`1067_IEO_DIS_LO` and `1067_IEO_FEA_LO`, `1056_MTI_ANG_XX` and `1056_TAI_ANG_XX`, `1045_ITH_DIS_XX` and "
        "`1045_IWL_DIS_XX`, `1020_IEO_ANG_LO` and `1020_IEO_ANG_MD`. They bear no flag.",
        "550 clips have samples at full scale.",
        "Hearing only the voice, people name the intended emotion in about 40 % of all votes.",
    ),
    "tess": (
        "Two files are AIFF under a `.wav` name, one is sampled at 96 kHz, and one is published as "
        "`OA_bite_neutral` instead of `OAF_bite_neutral`.",
        "Two talkers only: a score on TESS is a score on one voice.",
    ),
    "savee": (
        "Four speakers, all male; 176 clips have samples at full scale, and 360 a constant offset above 200 of 32,768.",
        "The sentences of an emotion are its own for the most part, so that the words give the label away.",
    ),
}


class ShardSize(NamedTuple):
    """Size of a written file.

    Attributes:
        rows: Number of clips.
        bytes: Of the columns in memory.
        file_bytes: Of the file.
    """

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
    """Render the README of a data set.

    Args:
        collection: The clips.
        layout: The files and configurations.
        sizes: Size of each file by its path.
        proofs: Proof of each protocol's split.
        facts: The build report.

    Returns:
        Front matter and Markdown.
    """
    corpora = [CORPORA[name] for name in collection.corpora]
    clips = collection.clips
    default = layout.configurations[0].name
    voted = collection.label_scheme != "intended"
    faults = [f"- {corpus.short_title}: {fault}" for corpus in corpora for fault in _FAULTS[corpus.name]]
    card: str = _template().render(
        front_matter=_front_matter(corpora, layout, sizes, len(clips)),
        corpora=[{"short": corpus.short_title} for corpus in corpora],
        clips=f"{len(clips):,}",
        hours=f"{facts['hours']:.2f}",
        speakers=len({entry.clip.speaker for entry in clips}),
        labels=[emotion for emotion in EMOTIONS if any(counts[emotion] for counts in facts["counts"].values())],
        label_sentence=_label_sentence(collection),
        voted=voted,
        path=f'"{_PLACE}"',
        where=_WHERE,
        default=f'"{default}"',
        configurations=_configurations(layout, sizes),
        incomplete=_incomplete(len(clips)),
        left_out=[f"`{name}`: {reason.partition(';')[0]}" for name, reason in layout.left_out.items()],
        leak_warning=f"> **`paper` shares speakers.** {PAPER_WARNING}" if "paper" in proofs else "",
        proof=_proof(proofs),
        counts=_counts(facts),
        durations=_durations(corpora, clips),
        columns=markdown_table(
            ["column", "meaning"], [[f"`{name}`", meaning] for name, meaning in _COLUMNS.items()], numbers=False
        ),
        faults="\n".join(["As published:", "", *faults]),
        faults_found=_found(facts),
        licences=licence_table(corpora),
        licence_note=_licence_note(corpora),
        citations="\n\n".join(corpus.citation for corpus in corpora),
    )
    return card


def card_of_repository(card: str, repo_id: str) -> str:
    """Return a data set's card with its snippets loading from the Hub, so that they run as printed.

    Args:
        card: As `render_data_card` made it.
        repo_id: `USER/NAME` of the data set.

    Example:
        >>> card_of_repository('load_dataset("USER/NAME", "all")', "me/speech")
        'load_dataset("me/speech", "all")'
    """
    return card.replace(f"{_WHERE}\n\n", "").replace(f'"{_PLACE}"', f'"{repo_id}"')


def _template() -> Any:
    text = resources.files("hf_ser").joinpath("templates", "data_card.md").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(text)


def _front_matter(corpora: Sequence[Corpus], layout: Layout, sizes: Mapping[str, ShardSize], clips: int) -> str:
    licences = list(dict.fromkeys(corpus.licence.id for corpus in corpora))
    content: dict[str, Any] = {
        "pretty_name": f"Eight emotions ({', '.join(corpus.short_title for corpus in corpora)})",
        "language": ["en"],
        "license": licences if len(licences) > 1 else licences[0],
        "task_categories": ["audio-classification"],
        "tags": ["speech-emotion-recognition", "emotion", "audio", *(corpus.name for corpus in corpora)],
        "size_categories": [_size_category(clips)],
        "configs": [
            {
                "config_name": configuration.name,
                **({"default": True} if position == 0 else {}),
                "data_files": [
                    {"split": part, "path": list(patterns)} for part, patterns in configuration.patterns.items()
                ],
            }
            for position, configuration in enumerate(layout.configurations)
        ],
        "dataset_info": [_info(configuration, sizes) for configuration in layout.configurations],
    }
    dumped: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
    return dumped.rstrip()


def _info(configuration: Configuration, sizes: Mapping[str, ShardSize]) -> dict[str, Any]:
    splits, stored = [], 0
    for part, shards in configuration.splits.items():
        files = [sizes[shard.path] for shard in shards]
        splits.append(
            {
                "name": part,
                "num_bytes": sum(size.bytes for size in files),
                "num_examples": sum(size.rows for size in files),
            }
        )
        stored += sum(size.file_bytes for size in files)
    return {
        "config_name": configuration.name,
        # A copy for each configuration: YAML would else refer back to the first one by an alias.
        "features": feature_list(),
        "splits": splits,
        "download_size": stored,
        "dataset_size": sum(entry["num_bytes"] for entry in splits),
    }


def _size_category(clips: int) -> str:
    for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if clips < bound:
            return name
    return "100K<n<1M"


def _label_sentence(collection: Collection) -> str:
    if collection.label_scheme == "intended":
        return "Labels are the intended emotions."
    ties = sum(finding.reason == "vote_tie" for finding in collection.rejected)
    without = sum(finding.reason == "no_votes" for finding in collection.rejected)
    heard = "heard" if collection.label_scheme == "voice_vote" else "heard and saw"
    return (
        f"Labels are the intended emotions, in CREMA-D those that most people {heard} (`{collection.label_scheme}`); "
        f"{ties:,} CREMA-D clips with tied votes and {without:,} without votes are left out."
    )


def _configurations(layout: Layout, sizes: Mapping[str, ShardSize]) -> str:
    rows = []
    for position, configuration in enumerate(layout.configurations):
        counts = {
            part: f"{sum(sizes[shard.path].rows for shard in shards):,}"
            for part, shards in configuration.splits.items()
        }
        name = f"`{configuration.name}`" + (" (default)" if position == 0 else "")
        if configuration.name in CORPORA:
            what = f"all clips of {CORPORA[configuration.name].short_title}, not split"
        else:
            what = PROTOCOLS.get(configuration.name, "all clips, not split").removesuffix(" (the default)")
        rows.append([name, what, *(counts.get(part, "") for part in ("train", "validation", "test"))])
    return markdown_table(["configuration", "what it is", "train", "validation", "test"], rows, numbers=(2, 3, 4))


def _incomplete(clips: int) -> str:
    published = sum(sum(corpus.counts.values()) for corpus in CORPORA.values())
    if clips == published:
        return ""
    return f"These descriptions are of the four complete corpora; here are {clips:,} of their {published:,} clips."


def _proof(proofs: Mapping[str, SplitProof]) -> str:
    rows = []
    for protocol, proof in proofs.items():
        speakers: set[str] = set()
        sentences: set[str] = set()
        identical: set[tuple[str, str]] = set()
        for pair, overlap in proof.overlaps.items():
            if "test" in pair:
                speakers |= set(overlap.speakers or ())
                sentences |= set(overlap.sentences or ())
                identical |= set(overlap.identical_samples or ())
        test = proof.parts["test"]
        sexes = ", ".join(f"{number:,} {sex}" for sex, number in test.sexes.items())
        shown = [
            f"{len(test.speakers or ())} ({sexes} clips)",
            f"{len(speakers)}",
            f"{len(sentences)}",
            f"{len(identical)}",
        ]
        rows.append([f"`{protocol}`", *shown, ", ".join(proof.untrained_labels) or "none"])
    header = [
        "protocol",
        "test speakers",
        "shared speakers",
        "shared sentences",
        "pairs of identical clips",
        "labels without training clips",
    ]
    return markdown_table(header, rows, numbers=(2, 3, 4))


def _counts(facts: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", *(f"{counts[emotion]:,}" for emotion in EMOTIONS), f"{sum(counts.values()):,}"]
        for name, counts in facts["counts"].items()
    ]
    return markdown_table(["corpus", *EMOTIONS, "all"], rows)


def _durations(corpora: Sequence[Corpus], clips: Sequence[CollectedClip]) -> str:
    rows = []
    for corpus in corpora:
        own = [entry for entry in clips if entry.clip.corpus == corpus.name]
        if not own:
            continue
        lengths = [entry.inspection.duration for entry in own]
        sexes = Counter({entry.clip.speaker: entry.clip.sex for entry in own}.values())
        rates = sorted({entry.inspection.sampling_rate for entry in own})
        rows.append(
            [
                f"`{corpus.name}`",
                f"{sexes.total()} ({sexes['female']} female, {sexes['male']} male)",
                f"{sum(lengths) / 3600:.2f}",
                f"{min(lengths):.2f}",
                f"{statistics.median(lengths):.2f}",
                f"{max(lengths):.2f}",
                ", ".join(f"{rate:,}" for rate in rates),
            ]
        )
    header = ["corpus", "speakers", "hours", "shortest (s)", "median (s)", "longest (s)", "sampling rates (Hz)"]
    return markdown_table(header, rows, numbers=(2, 3, 4, 5))


def _found(facts: Mapping[str, Any]) -> str:
    tally = Counter(finding["reason"] for finding in facts["flagged"])
    if not tally:
        return "No clip here bears a flag."
    rows = [[f"`{flag}`", f"{tally[flag]:,}", meaning] for flag, meaning in FLAGS.items() if tally[flag]]
    return "Flags in this build:\n\n" + markdown_table(["flag", "clips", "meaning"], rows, numbers=False)


def _licence_note(corpora: Sequence[Corpus]) -> str:
    closed = [corpus.short_title for corpus in corpora if not corpus.licence.redistribution]
    if not closed:
        return "Each clip stays under the terms of its own corpus. This is no legal advice."
    return (
        f"Each clip stays under the terms of its own corpus. Those of {' and '.join(closed)} do not allow publishing "
        "this data set: keep it private. This is no legal advice."
    )
