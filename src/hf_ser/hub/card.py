"""A run's records as its model card: facts first, nothing guessed, unknown facts left out."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from hf_ser.corpora import CORPORA, Corpus
from hf_ser.corpora.licences import licence_table
from hf_ser.errors import InputError
from hf_ser.hub.facts import Facts, code, entry, read_facts
from hf_ser.hub.front_matter import front_matter, licence_of
from hf_ser.hub.sections import environment, label_table, results, split, training
from hf_ser.hub.snippets import snippets
from hf_ser.text import percent, percent_range

__all__ = ["render_model_card"]

_REPO_ID = re.compile(r"([\w.-]+/)?[\w.-]+", re.ASCII)

_PAPER = """\
@misc{efficient_hubert_ser,
  title  = {Efficient Fine-Tuning Approaches on {HuBERT} for Speech Emotion Recognition on Multiple Labels},
  author = {{Anonymous}},
  note   = {Anonymous ACL submission}
}"""
_LIBRARY = """\
@software{hf_ser,
  title   = {{hf\\_ser}: fine-tuning of speech encoders for emotion recognition},
  version = {%s}
}"""


def render_model_card(run: Mapping[str, Any], metrics: Mapping[str, Any], *, repo_id: str | None = None) -> str:
    """Render the model card of a run from its records alone.

    What the records do not say is left out. Needs no network, and no torch.

    Args:
        run: Contents of run.json. Beyond what `finetune` writes, these are heeded: `model.saved` as `merged` for
            an adapter merged into its base; `model.local` and `dataset.local`, whether the name is a folder's
            (where they are absent, a name that exists as a path is); `dataset.synthetic` for synthesised clips;
            `emissions` with `grams` of CO2 equivalents and their `source`; `example` for an invented record.
        metrics: Contents of metrics.json.
        repo_id: Where the model will lie on the Hub; None for a card that stays beside the model, whose
            snippets load from the current folder.

    Returns:
        Front matter and Markdown.

    Raises:
        InputError: `metrics` has no `labels` or no `test`, or `repo_id` is no name on the Hub.

    Example:
        >>> from hf_ser.evaluation.scores import evaluate_scores
        >>> labels, corpora, speakers = ["calm", "sad"], ["savee"] * 3, ["DC", "JE", "KL"]
        >>> test = evaluate_scores([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], [0, 1, 1], labels, corpora, speakers, seed=0)
        >>> card = render_model_card({"protocol": "paper"}, {"labels": labels, "test": test}, repo_id="me/ser")
        >>> card.splitlines()[1:4]
        ['language: en', 'license: other', 'license_name: savee-terms']
        >>> "Warning: speakers leak" in card
        True
    """
    for key in ("labels", "test"):
        if key not in metrics:
            raise InputError(f"metrics has no {key!r}; give the contents of a metrics.json")
    if repo_id is not None and not _REPO_ID.fullmatch(repo_id):
        raise InputError(f"repo_id '{repo_id}' is no repository on the Hub; give USER/NAME")
    facts = read_facts(run, metrics)
    text = _template().render(
        front_matter=front_matter(run, metrics, facts, repo_id),
        title=": ".join(filter(None, ("Speech emotion recognition", ", ".join(_names(facts))))),
        warnings=_warnings(facts),
        subject=_subject(facts),
        labels=facts.labels,
        origin=_origin(run, facts),
        headline=_headline(metrics["test"], facts),
        snippets=snippets(run, facts, repo_id),
        in_this_folder=repo_id is None,
        purpose=_purpose(facts),
        segment_seconds=f"{run.get('segment_seconds') or 10:g}",
        meaning=_meaning(facts),
        limits=_limits(run, facts),
        label_table=label_table(run, facts),
        split=split(run, facts),
        results=results(metrics["test"]),
        training=training(run, facts),
        files=_files(run, facts),
        environment=environment(run),
        licences=_licences(facts),
        citations_corpora=bool(facts.known_corpora),
        citations="\n\n".join(_citations(run, facts)),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    source = resources.files("hf_ser").joinpath("templates", "model_card.md").read_text(encoding="utf-8")
    # An undefined name in the template fails instead of leaving a hole in the card.
    setting = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return setting.from_string(source)


def _names(facts: Facts) -> list[str]:
    base = facts.base.rpartition("/")[2] if facts.base else None
    return [name for name in (base, facts.recipe) if name]


def _warnings(facts: Facts) -> list[dict[str, str]]:
    found = []
    if facts.example:
        found.append(("Example card: the figures are invented.", "It shows what a card holds; nothing was measured."))
    if facts.synthetic:
        found.append(
            (
                "Synthetic data: the figures are evidence of nothing.",
                "The clips are synthesised, not recorded from people; the run shows that the code works, no more.",
            )
        )
    if facts.protocol == "paper" or facts.disjoint is False:
        many = len(facts.shared_speakers)
        who = f" ({many} speaker{'s' if many != 1 else ''} of the test part)" if many else ""
        found.append(
            (
                "Warning: speakers leak.",
                f"The parts of this split share speakers{who}, so the model may know the voice instead of the emotion. "
                "The figures say nothing about new speakers and must not be compared with speaker-independent ones.",
            )
        )
    elif facts.disjoint is None:
        found.append(
            (
                "Warning: speakers may leak.",
                "Nothing in the record shows that the parts of this split differ in speakers; take the figures for "
                "inflated until somebody shows it.",
            )
        )
    return [{"head": head, "text": text} for head, text in found]


def _subject(facts: Facts) -> str:
    if facts.synthetic:
        return "Names the label of a short synthesised clip."
    if facts.acted_english:
        return "Names the emotion that an actor plays in a short clip of English speech."
    return "Names the emotion in a short clip of speech."


def _origin(run: Mapping[str, Any], facts: Facts) -> str:
    sentences = []
    if facts.base:
        where = f"[{facts.base}](https://huggingface.co/{facts.base})" if facts.base_id else code(facts.base)
        revision = f", revision {code(facts.revision)}" if facts.revision else ""
        note = revision or ("" if facts.base_id else " (a local folder, not on the Hub)")
        by = f" by the recipe {code(facts.recipe)}" if facts.recipe else ""
        version = f" with hf_ser {run['hf_ser']}" if run.get("hf_ser") else ""
        sentences.append(f"Fine-tuned from {where}{note}{by}{version}.")
    if summary := entry(run, "recipe", "summary"):
        sentences.append(summary)
    total, trained = entry(run, "model", "parameters"), entry(run, "model", "trainable_parameters")
    if total and trained:
        share = 100 * trained / total
        shown = f"{share:.1f}" if share >= 1 else f"{share:.2g}"
        sentences.append(f"{trained:,} of {total:,} parameters were trained ({shown} %).")
    if facts.saved == "merged":
        sentences.append("The adapter is merged into the base: this is a plain checkpoint.")
    return " ".join(sentences)


def _headline(test: Mapping[str, Any], facts: Facts) -> str:
    pooled = test["pooled"]
    bounds = pooled["intervals"]["uar"]
    interval = f" (95 % interval {percent_range(bounds)})" if bounds else ""
    speakers = f"{pooled['speakers']:,} speaker{'s' if pooled['speakers'] != 1 else ''}"
    heard = {True: " that the model never heard", False: "", None: ""}[facts.disjoint and facts.protocol != "paper"]
    mean = test["mean_over_corpora"]
    over = f"; mean over the {mean['corpora']} corpora {percent(mean['uar'])} %" if mean["corpora"] > 1 else ""
    classes = sum(figures["support"] > 0 for figures in pooled["per_class"].values())
    return (
        f"**UAR {percent(pooled['uar'])} %**{interval} on {pooled['clips']:,} test clips of {speakers}{heard}{over}. "
        f"UAR, the unweighted average recall, is the mean of the recalls of the {classes} emotions that occur in the "
        f"test clips; guessing reaches {100 / classes:.1f} %."
    )


def _purpose(facts: Facts) -> str:
    if facts.synthetic:
        return "To see the code work, and for nothing else."
    return (
        "For research on speech emotion recognition: to compare ways of fine-tuning, as a baseline on the same split, "
        "and for teaching."
    )


def _meaning(facts: Facts) -> str:
    if not facts.acted_english:
        return "A label is what somebody took a clip for, or meant it to be; nothing here knows what a speaker feels."
    text = "A label is what an actor was asked to play, not what anybody felt"
    if "crema_d" in facts.corpora:
        # Cao et al. 2014, table of recognition rates: 40.9 % from the voice, 58.2 % from the face, 63.6 % from both.
        text += "; hearing only the voice, people recognise the intended emotion of a CREMA-D clip in 41 % of cases"
    return text + "."


def _limits(run: Mapping[str, Any], facts: Facts) -> list[str]:
    found = []
    homes: dict[str, list[str]] = {label: [] for label in facts.labels}
    trained = entry(run, "dataset", "parts", "train", "counts") or {}
    for corpus, counts in trained.items():
        for label, clips in counts.items():
            if clips:
                homes.setdefault(label, []).append(corpus)
    if trained and (missing := [label for label, corpora in homes.items() if not corpora]):
        found.append(f"No training clip is labelled {', '.join(missing)}: the model cannot know it.")
    alone = {label: corpora[0] for label, corpora in homes.items() if len(corpora) == 1}
    if alone and len(facts.corpora) > 1:
        listed = ", ".join(f"{label} ({_short_title(corpus)})" for label, corpus in alone.items())
        found.append(f"One corpus alone has training clips of {listed}: its recordings may give the label away.")
    sexes = {corpus.name: {speaker.sex for speaker in corpus.speakers.values()} for corpus in facts.known_corpora}
    single = [f"{sexes_of.pop()} in {_short_title(name)}" for name, sexes_of in sexes.items() if len(sexes_of) == 1]
    if single:
        found.append(f"Sex goes with the corpus: every speaker is {', '.join(single)}.")
    overlaps = entry(run, "dataset", "proof", "overlaps") or {}
    if any(shared.get("sentences") for pair, shared in overlaps.items() if "test" in pair):
        found.append("The test clips repeat sentences that the model was trained on or chosen by: words are not new.")
    found.append(
        "Scores are not calibrated. Silence has no emotion: `hf_ser.load` refuses it, plain libraries answer something."
    )
    return found


def _short_title(name: str) -> str:
    return CORPORA[name].short_title if name in CORPORA else name


def _files(run: Mapping[str, Any], facts: Facts) -> list[str]:
    if facts.saved == "adapter":
        kept = entry(run, "recipe", "lora", "modules_to_save") or ()
        whole = f" and, whole, {', '.join(code(name) for name in kept)}" if kept else ""
        files = [
            f"`adapter_model.safetensors`, `adapter_config.json`: the LoRA weights{whole}; the base is not in here.",
            "`config.json`: the base's configuration with these labels.",
        ]
    elif facts.saved:
        files = ["`model.safetensors`, `config.json`: the whole model with its labels, as plain `transformers` has it."]
    else:
        return []
    if entry(run, "recipe", "normalize_features"):
        files[0] += " The standardisation of the pooled features is folded into the projector."
    return [
        *files,
        "`preprocessor_config.json`: how the base takes its audio.",
        "`run.json`, `metrics.json`, `predictions.csv`, `report.md`, `confusion.png`: the records behind this card.",
    ]


def _licences(facts: Facts) -> list[str]:
    if facts.synthetic:
        return ["The clips are synthesised: no corpus's terms apply. The base model's do."]
    corpora = facts.known_corpora
    if not corpora:
        return []
    return ["No audio is in this repository.", licence_table(corpora), _roll_up(facts, corpora)]


def _roll_up(facts: Facts, corpora: tuple[Corpus, ...]) -> str:
    strictest = licence_of(corpora)
    unknown = [name for name in facts.corpora if name not in CORPORA]
    if unknown or strictest is None:
        listed = ", ".join(code(name) for name in unknown)
        return f"The terms of {listed} are not known to hf_ser, so that this card names no licence for the model."
    what = "these terms" if len(corpora) == 1 else "the most restrictive of these terms"
    why = " (which publishes no licence, hence `other`)" if strictest.licence.id == "other" else ""
    return (
        f"The licence on top of this card follows {what}, those of {strictest.short_title}{why}. Whether a "
        "recording's terms bind a model trained on it is not settled; this is the cautious reading, not legal advice. "
        "The base model's own terms apply besides."
    )


def _citations(run: Mapping[str, Any], facts: Facts) -> list[str]:
    library = _LIBRARY % run["hf_ser"] if run.get("hf_ser") else re.sub(r"  version.*\n", "", _LIBRARY)
    return [_PAPER, *(corpus.citation for corpus in facts.known_corpora), library]
