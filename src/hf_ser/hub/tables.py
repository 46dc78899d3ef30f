"""What a model card derives from the records: the split's meaning, known limits, settings, environment."""

from collections.abc import Mapping
from typing import Any

from hf_ser.files import entry
from hf_ser.hub.facts import Facts, code
from hf_ser.models.recipe import RECIPE_ARGUMENTS
from hf_ser.models.recipes import RECIPES


def limits(run: Mapping[str, Any], facts: Facts) -> list[str]:
    """Return the known limits that the records show."""
    found = []
    trained: Mapping[str, Any] = entry(run, "dataset", "parts", "train", "counts") or {}
    homes = {label: [corpus for corpus, counts in trained.items() if counts.get(label)] for label in facts.labels}
    if trained and (missing := [label for label, corpora in homes.items() if not corpora]):
        found.append(f"No training clip has the label {', '.join(missing)}: the model cannot predict it reliably.")
    alone = {label: corpora[0] for label, corpora in homes.items() if len(corpora) == 1}
    if alone and len(facts.corpora) > 1:
        titles = {corpus.name: corpus.short_title for corpus in facts.known_corpora}
        listed = ", ".join(f"{label} ({titles.get(corpus, corpus)})" for label, corpus in alone.items())
        found.append(f"Only one corpus has training clips of {listed}: the recording may reveal the label.")
    sexes = {corpus.short_title: {of.sex for of in corpus.speakers.values()} for corpus in facts.known_corpora}
    single = [f"{next(iter(only))} in {title}" for title, only in sexes.items() if len(only) == 1]
    if single:
        found.append(f"Sex and corpus are confounded: every speaker is {', '.join(single)}.")
    if left_out := entry(run, "dataset", "left_out"):
        counts = ", ".join(f"{number:,} {code(reason)}" for reason, number in left_out.items())
        found.append(f"Rows and files of the data that are in no part: {counts}.")
    overlaps = entry(run, "dataset", "proof", "overlaps") or {}
    if any(shared.get("sentences") for pair, shared in overlaps.items() if "test" in pair):
        found.append("The test clips repeat sentences of the training or validation clips.")
    return found


def settings(run: Mapping[str, Any], facts: Facts) -> list[tuple[str, str]]:
    """Return the settings of the training by name, with the recipe's own value where it differs."""
    recipe, arguments = run.get("recipe"), run.get("arguments")
    if not isinstance(recipe, Mapping):
        return []
    declared = RECIPES.get(str(facts.recipe))
    own = declared.as_dict() if declared else {}
    # Only arguments that differ from the defaults of transformers are recorded.
    unrecorded = f"the default of transformers {entry(run, 'versions', 'transformers') or ''}".strip()
    rows = []
    for field, value in recipe.items():
        default = own.get(field)
        if field in RECIPE_ARGUMENTS and isinstance(arguments, Mapping):
            value = arguments.get(RECIPE_ARGUMENTS[field], unrecorded)
        if field not in ("name", "summary") and (_plain(value) or value != default):
            differs = field in own and value != default
            rows.append((field, _plain(value) + (f" (recipe: {_plain(default) or 'none'})" if differs else "")))
    head = run.get("head") or {}
    if layers := head.get("layers"):
        rows.append(("layers whose mean the head reads", " to ".join(map(str, layers))))
    rows.append(("head", ", ".join(filter(None, (head.get("head"), head.get("start"))))))
    rows.append(("labels taken from the base", ", ".join(map(str, head.get("kept_labels") or ()))))
    if "augmentation" in run:
        rows.append(("augmentation", _plain(run["augmentation"] or "none")))
    return [row for row in rows if row[1]]


def environment(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return seeds, hardware, time, memory and versions, as far as they are recorded."""
    hardware, threads = run.get("hardware") or {}, entry(run, "hardware", "threads")
    accelerator = hardware.get("accelerator")
    device = f"{hardware.get('accelerators', 1)} x {accelerator}" if accelerator else None
    machine = (hardware.get("platform"), f"{threads} threads" if threads else None, device)
    memory = {place: size for place, size in (run.get("peak_memory_bytes") or {}).items() if size}
    rows = [
        ("seeds", _plain(run.get("seeds") or {})),
        ("hardware", ", ".join(filter(None, machine))),
        ("seconds", ", ".join(f"{name} {seconds:,.0f}" for name, seconds in (run.get("seconds") or {}).items())),
        ("peak memory", ", ".join(f"{place} {size / 2**30:.2f} GiB" for place, size in memory.items())),
        ("versions", _plain(run.get("versions") or {})),
    ]
    return [row for row in rows if row[1]]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(of)}" for key, of in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(of) for of in value)
    return "" if value is None else str(value)
