"""What a card says in sentences: what the model is, what it is for and not for, and what to beware of."""

from collections.abc import Mapping
from typing import Any

from hf_ser.corpora import CORPORA
from hf_ser.hub.facts import Facts, code, entry

__all__ = ["limits", "meaning", "origin", "purpose", "subject", "title", "warnings"]


def title(facts: Facts) -> str:
    """Return the card's title."""
    base = facts.base.rpartition("/")[2] if facts.base else None
    names = ", ".join(name for name in (base, facts.recipe) if name)
    return ": ".join(filter(None, ("Speech emotion recognition", names)))


def warnings(facts: Facts) -> list[dict[str, str]]:
    """Return what a reader must know before any figure: each a `head` and a `text`."""
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


def subject(facts: Facts) -> str:
    """Return what the model does, in one sentence."""
    if facts.synthetic:
        return "Names the label of a short synthesised clip."
    if facts.acted_english:
        return "Names the emotion that an actor plays in a short clip of English speech."
    return "Names the emotion in a short clip of speech."


def origin(run: Mapping[str, Any], facts: Facts) -> str:
    """Return what the model was made of, by what, and how much of it was trained."""
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


def purpose(facts: Facts) -> str:
    """Return what the model is for."""
    if facts.synthetic:
        return "To see the code work, and for nothing else."
    return (
        "For research on speech emotion recognition: to compare ways of fine-tuning, as a baseline on the same split, "
        "and for teaching."
    )


def meaning(facts: Facts) -> str:
    """Return what a label means, and what it does not."""
    if not facts.acted_english:
        return "A label is what somebody took a clip for, or meant it to be; nothing here knows what a speaker feels."
    text = "A label is what an actor was asked to play, not what anybody felt"
    if "crema_d" in facts.corpora:
        # Cao et al. 2014, table of recognition rates: 40.9 % from the voice, 58.2 % from the face, 63.6 % from both.
        text += "; hearing only the voice, people recognise the intended emotion of a CREMA-D clip in 41 % of cases"
    return text + "."


def limits(run: Mapping[str, Any], facts: Facts) -> list[str]:
    """Return the known limits that the records show."""
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
