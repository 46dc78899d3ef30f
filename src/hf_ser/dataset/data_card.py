"""What a build writes for people: the report of what was found, and the README with metadata for the Hub."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import pandas
import yaml
from datasets import Features

from hf_ser import __version__
from hf_ser.corpora import CORPORA, Corpus, licence_table
from hf_ser.corpora.originals import Provenance, originals
from hf_ser.dataset.collection import Collection
from hf_ser.dataset.hygiene import FLAGS, Finding
from hf_ser.dataset.layout import EIGHT_EMOTIONS, Layout, feature_list, patterns
from hf_ser.dataset.proof import PAPER_WARNING, SplitProof
from hf_ser.dataset.splits import protocols
from hf_ser.files import write_json, write_text
from hf_ser.labels import EMOTIONS
from hf_ser.text import printable, render

PLACE: Final = "USER/NAME"
WHERE: Final = f'`"{PLACE}"` stands for the path of this folder.'


def report(collection: Collection, protocols: Iterable[str], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the report of a build as JSON types; `left_out` says why the data set lacks the other protocols."""
    clips, present = collection.clips, set(collection.clips["clip_id"])
    of_corpus = {name: clips[clips["corpus"] == name] for name in collection.corpora}
    published = (clip_id for clip_id in originals().by_clip_id if clip_id.partition("/")[0] in of_corpus)

    def shown(found: Iterable[Finding]) -> list[dict[str, Any]]:
        return [it._asdict() | {"file": printable(it.file), "detail": printable(it.detail)} for it in found]

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
        "rejected": shown(collection.rejected),
        "flagged": shown(collection.flagged),
        "missing": [clip_id for clip_id in published if clip_id not in present],
        "protocols": list(protocols),
        "protocols_left_out": dict(left_out),
    }


def render_report(facts: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    missing = Counter(clip_id.partition("/")[0] for clip_id in facts["missing"])
    return render("build_report.md", **facts, emotions=EMOTIONS, flags=FLAGS, missing_clips=missing)


def render_data_card(
    collection: Collection,
    layout: Layout,
    sizes: Mapping[str, tuple[int, int]],
    proofs: Mapping[str, SplitProof],
    facts: Mapping[str, Any],
) -> str:
    """Return the README of a data set; `sizes` has the bytes in memory, and those of the file, by path."""
    corpora = [CORPORA[name] for name in collection.corpora]
    return render(
        "data_card.md",
        front_matter=front_matter(
            layout,
            sizes,
            EIGHT_EMOTIONS,
            pretty_name=f"Eight emotions ({', '.join(corpus.short_title for corpus in corpora)})",
            language=sorted({corpus.language for corpus in corpora}),
            license=licences_of(corpora),
            tags=[corpus.name for corpus in corpora],
        ),
        corpora=corpora,
        facts=facts,
        speakers=collection.clips["speaker"].nunique(),
        path=f'"{PLACE}"',
        where=WHERE,
        **table_facts(layout, collection.clips),
        published=len(originals().by_clip_id),
        proofs=proofs,
        paper_warning=PAPER_WARNING,
        emotions=EMOTIONS,
        flags=FLAGS,
        licences=licence_table(corpora),
    )


def card_of_repository(card: str, repo_id: str) -> str:
    """Return the card of a built data set with snippets that load it from the Hub."""
    return card.replace(f"{WHERE}\n\n", "").replace(f'"{PLACE}"', f'"{repo_id}"')


def licences_of(corpora: Sequence[Corpus]) -> str | list[str] | None:
    """Return the identifiers of the corpora's licences as the front matter of a card takes them."""
    licences = list(dict.fromkeys(corpus.licence.id for corpus in corpora))
    return licences if len(licences) > 1 else licences[0] if licences else None


def front_matter(
    layout: Layout, sizes: Mapping[str, tuple[int, int]], features: Features, tags: Sequence[str], **facts: Any
) -> str:
    """Return the front matter of a data set's README; `facts` are keys of it, left out where they are None or empty."""
    clips, bounds = _clips(layout, [*layout.files]), ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    configs: list[dict[str, Any]] = []
    infos = []
    for name, splits in layout.configurations.items():
        files = [{"split": part, "path": patterns(paths, layout.files)} for part, paths in splits.items()]
        # The first one is the default.
        configs.append({"config_name": name, **({} if configs else {"default": True}), "data_files": files})
        counted: list[dict[str, Any]] = [
            {"name": part, "num_bytes": sum(sizes[path][0] for path in paths), "num_examples": _clips(layout, paths)}
            for part, paths in splits.items()
        ]
        stored = sum(sizes[path][1] for paths in splits.values() for path in paths)
        whole = {"download_size": stored, "dataset_size": sum(it["num_bytes"] for it in counted)}
        infos.append({"config_name": name, "features": feature_list(features), "splits": counted, **whole})
    content: dict[str, Any] = {
        **{key: value for key, value in facts.items() if value},
        "task_categories": ["audio-classification"],
        "tags": ["speech-emotion-recognition", "emotion", "audio", *tags],
        "size_categories": [next((name for bound, name in bounds if clips < bound), "100K<n<1M")],
        "configs": configs,
        "dataset_info": infos,
    }
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)).rstrip()


def _clips(layout: Layout, paths: Sequence[str]) -> int:
    return sum(len(layout.files[path]) for path in paths)


def table_facts(layout: Layout, clips: pandas.DataFrame) -> dict[str, Any]:
    """Return what the tables of a card show: configurations with the clips of their parts, and each corpus."""
    described = protocols(layout.configurations) | {"given": "the parts that the data came with"}
    configurations = {}
    for name, splits in layout.configurations.items():
        what = described.get(name, "all clips, not split").removesuffix(" (the default)")
        if name not in described and name != "all":
            what = f"all clips of {CORPORA[name].short_title if name in CORPORA else name}, not split"
        configurations[name] = {"what": what, **{part: _clips(layout, paths) for part, paths in splits.items()}}
    corpora = {}
    for corpus in dict.fromkeys([*CORPORA, *sorted(set(clips["corpus"]))]):
        if not (own := clips[clips["corpus"] == corpus]).empty:
            seconds = own["duration"].astype(float)
            corpora[corpus] = {
                "sexes": Counter(own.drop_duplicates("speaker")["sex"] if "sex" in own else ()),
                "speakers": own["speaker"].nunique(),
                "lengths": (seconds.sum() / 3600, seconds.min(), seconds.median(), seconds.max()),
                "rates": sorted(own["sampling_rate"].unique()),
            }
    return {"configurations": configurations, "default": next(iter(configurations)), "durations": corpora}


def write_records(
    folder: Path, facts: Mapping[str, Any], proofs: Mapping[str, SplitProof], report: str, card: str
) -> None:
    """Write what a build says about itself: its report, the proofs, and the card."""
    write_json(folder / "build_report.json", facts)
    write_text(folder / "build_report.md", report)
    write_json(folder / "split_proof.json", {protocol: proof.as_dict() for protocol, proof in proofs.items()})
    write_text(folder / "README.md", card)
