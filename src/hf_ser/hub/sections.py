"""The card's tables: labels, split, results, training, machine."""

import json
from collections.abc import Mapping
from typing import Any

from hf_ser.hub.facts import SEGMENT_SECONDS, Facts, code, entry
from hf_ser.models.recipes import RECIPES
from hf_ser.text import markdown_table, percent, percent_range

__all__ = ["environment", "label_table", "results", "split", "training"]

_PROTOCOLS: Mapping[str, str] = {
    "speaker_independent": "each speaker is in one part alone",
    "fold": "one fold of a cross-validation whose folds share no speaker; the mean over all folds is what counts",
    "leave_out": "the test part is a corpus that nothing was learned from",
    "paper": "a random draw of clips, as in the paper, to compare with its tables alone",
    "given": "the parts that the data set came with",
}

# Fields of a recipe that `TrainingArguments` replaces, by the name they have there.
_ARGUMENTS: Mapping[str, str] = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "warmup_steps": "warmup",
    "weight_decay": "weight_decay",
}

# Arguments that the card shows elsewhere, or tells in words (the choice of the checkpoint), or that change no weight.
_ELSEWHERE = {
    *_ARGUMENTS,
    *("lr_scheduler_type", "seed", "data_seed"),
    *("greater_is_better", "load_best_model_at_end", "metric_for_best_model"),
    *("disable_tqdm", "do_eval", "logging_steps", "logging_strategy", "report_to", "save_total_limit"),
    *("remove_unused_columns", "restore_callback_states_from_checkpoint", "dataloader_num_workers"),
    *("dataloader_pin_memory", "per_device_eval_batch_size"),
}

# What `finetune` and `training_arguments` do unless told otherwise, whatever the recipe.
_SCHEDULE = "linear"
_PATIENCE = 5


def label_table(run: Mapping[str, Any], facts: Facts) -> str | None:
    """Return the labels with their identifiers and clips by part; None where no label is known."""
    if not facts.labels:
        return None
    parts = _parts(run)
    rows = [
        (label, str(index), *(f"{_clips_of(part, label):,}" for part in parts.values()))
        for index, label in enumerate(facts.labels)
    ]
    return markdown_table(("label", "id", *(f"{name} clips" for name in parts)), rows)


def split(run: Mapping[str, Any], facts: Facts) -> list[str]:
    """Return the protocol, what the parts hold, and the proof of what they share."""
    blocks = []
    if facts.protocol:
        kind = next((kind for kind in _PROTOCOLS if facts.protocol.startswith(kind)), None)
        # What a protocol promises is not repeated where the record does not show it.
        meaning = _PROTOCOLS[kind] if kind and (facts.disjoint or kind in ("paper", "given")) else None
        blocks.append(f"Protocol {code(facts.protocol)}" + (f": {meaning}." if meaning else "."))
    parts = _parts(run)
    if parts:
        rows = []
        for name, part in parts.items():
            held = {corpus: sum(counts.values()) for corpus, counts in (part.get("counts") or {}).items()}
            listed = ", ".join(f"{corpus} {clips:,}" for corpus, clips in held.items() if clips)
            rows.append((name, f"{part.get('clips', 0):,}", f"{len(part.get('speakers') or ()):,}", listed))
        blocks.append(markdown_table(("part", "clips", "speakers", "clips by corpus"), rows, numbers=(1, 2)))
    blocks += _proof(entry(run, "dataset", "proof"), facts)
    about = []
    if facts.dataset:
        link = f"[{facts.dataset}](https://huggingface.co/datasets/{facts.dataset})"
        about.append(f"Data set: {link if facts.dataset_id else code(facts.dataset)}.")
    if fingerprint := entry(run, "dataset", "fingerprint"):
        about.append(f"Fingerprint (SHA-256 over identifiers, labels and bytes of the clips): {code(fingerprint)}.")
    return [*blocks, " ".join(about)] if about else blocks


def _proof(proof: Any, facts: Facts) -> list[str]:
    overlaps: Mapping[str, Any] = entry({"proof": proof}, "proof", "overlaps") or {}
    if not overlaps:
        return []
    # The proof counts no sentence both where none is shared and where the data set tells none.
    sentences = facts.acted_english or any(shared.get("sentences") for shared in overlaps.values())
    header = ("shared by", "speakers", *(["sentences"] if sentences else []), "identical clips")
    rows = []
    for pair, shared in overlaps.items():
        identical = shared.get("identical_samples")
        spoken = [f"{len(shared.get('sentences') or ()):,}"] if sentences else []
        compared = "not compared" if identical is None else f"{len(identical):,}"
        rows.append((pair.replace("/", " and "), f"{len(shared.get('speakers') or ()):,}", *spoken, compared))
    claim = {
        True: "The proof: no speaker is in two parts.",
        False: "What the parts share:",
        None: "What the parts share, by the names in the record:",
    }[facts.disjoint]
    return [claim, markdown_table(header, rows)]


def results(test: Mapping[str, Any]) -> dict[str, Any]:
    """Return the test part's figures by corpus and by emotion, and what to know of their intervals."""
    pooled = test["pooled"]
    corpora = [*test["corpora"]]
    if len(corpora) > 1:
        measures = [*test["corpora"].items(), ("pooled", pooled), ("mean over corpora", test["mean_over_corpora"])]
    else:
        measures = [(corpora[0] if corpora else "all clips", pooled)]
    rows = []
    for name, measure in measures:
        cells = [
            percent(entry(measure, *path))
            + (f" ({percent_range(bounds)})" if (bounds := measure["intervals"][key]) else "")
            for path, key in ((("uar",), "uar"), (("accuracy",), "accuracy"), (("f1", "macro"), "f1_macro"))
        ]
        counts = [f"{measure[key]:,}" if key in measure else "" for key in ("clips", "speakers")]
        rows.append((name, *counts, *cells, percent(measure["eer"]["macro"])))
    emotions = []
    for label, figures in pooled["per_class"].items():
        bounds = figures["recall_interval"]
        recall = percent(figures["recall"]) + (f" ({percent_range(bounds)})" if bounds else "")
        others = (percent(figures[key]) for key in ("precision", "f1", "eer"))
        emotions.append((label, f"{figures['support']:,}", recall, *others))
    further = (
        f"Pooled, further: weighted F1 {percent(pooled['f1']['weighted'])}, micro F1 {percent(pooled['f1']['micro'])} "
        f'(equals accuracy), micro EER {percent(pooled["eer"]["micro"])}, and the paper\'s "EER", the mean of '
        f"(FPR + FNR) / 2 over decisions, {percent(pooled['paper_eer'])}. EER proper comes from scores, one emotion "
        "against the rest."
    )
    return {
        "corpora": markdown_table(("corpus", "clips", "speakers", "UAR", "accuracy", "macro F1", "macro EER"), rows),
        "notes": [f"{name}: {measure['intervals_note']}." for name, measure in measures if measure["intervals_note"]],
        "further": further,
        "emotions": markdown_table(("emotion", "clips", "recall", "precision", "F1", "EER"), emotions),
    }


def training(run: Mapping[str, Any], facts: Facts) -> list[str]:
    """Return how the model was trained, what departs from the recipe first."""
    recipe, arguments = run.get("recipe"), run.get("arguments")
    blocks = []
    if isinstance(recipe, Mapping):
        departures = _departures(recipe, arguments, run)
        if departures:
            by = f"the recipe {code(facts.recipe)}" if facts.recipe else "the recipe"
            lead = f"Set otherwise than {by}, or `finetune` itself, has it:"
            blocks += [lead, markdown_table(("setting", "this run", "default"), departures, numbers=False)]
        elif facts.recipe in RECIPES and arguments is not None:
            blocks.append("Every hyperparameter is the recipe's own, or the default of `finetune`.")
        if rows := _settings(recipe, arguments, run):
            blocks += ["All settings:", markdown_table(("setting", "value"), rows, numbers=False)]
    blocks += _course(run)
    others = {key: value for key, value in (arguments or {}).items() if key not in _ELSEWHERE}
    if others:
        listed = ", ".join(code(f"{key}={value!r}") for key, value in others.items())
        blocks.append(
            f"Other training arguments that differ from `transformers`' defaults and may change the result: {listed}."
        )
    return blocks


def _departures(recipe: Mapping[str, Any], arguments: Any, run: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    declared = RECIPES.get(str(recipe.get("name")))
    if declared is not None:
        own = json.loads(json.dumps(declared.as_dict()))
        rows = [
            (key, _plain(recipe[key]), _plain(own[key]))
            for key in own
            if key in recipe and key not in ("name", "summary") and json.loads(json.dumps(recipe[key])) != own[key]
        ]
    for argument, field in _ARGUMENTS.items() if arguments is not None else ():
        if field in recipe and arguments.get(argument) != recipe[field]:
            rows.append((argument, _argument(arguments, argument, run), _plain(recipe[field])))
    schedule = entry({"of": arguments}, "of", "lr_scheduler_type")
    if schedule not in (None, _SCHEDULE):
        rows.append(("lr_scheduler_type", _plain(schedule), _SCHEDULE))
    if run.get("augmentation"):
        rows.append(("augmentation", _plain(run["augmentation"]), "none"))
    if run.get("segment_seconds") not in (None, SEGMENT_SECONDS):
        rows.append(("segments", _segments(run["segment_seconds"]), _segments(SEGMENT_SECONDS)))
    if run.get("patience", _PATIENCE) != _PATIENCE:
        rows.append(("early stopping", _patience(run["patience"]), _patience(_PATIENCE)))
    return rows


def _argument(arguments: Mapping[str, Any], name: str, run: Mapping[str, Any]) -> str:
    if name == "per_device_train_batch_size" and run.get("seconds_per_batch"):
        return f"as many clips as fit into {run['seconds_per_batch']:g} s"
    if name in arguments:
        return _plain(arguments[name])
    # Only what differs from the defaults is recorded.
    version = entry(run, "versions", "transformers")
    return f"the default of transformers {version}" if version else "the default of transformers"


def _settings(recipe: Mapping[str, Any], arguments: Any, run: Mapping[str, Any]) -> list[tuple[str, str]]:
    frozen = {"feature_encoder"} if recipe.get("freeze_feature_encoder") else set()
    upper = recipe.get("trained_layers")
    if upper:
        frozen = {"feature_encoder", "feature_projection"}
    trains = [part for part in recipe.get("trains") or () if part not in frozen]
    head = run.get("head") or {}
    rows = [
        ("parts that train whole", ", ".join(trains)),
        ("layers of the encoder that train", f"the upper {upper}" if upper else ""),
        ("LoRA", _plain(recipe.get("lora") or {})),
        *((name, _argument(arguments, name, run)) for name in _ARGUMENTS if arguments is not None),
        ("lr_scheduler_type", _plain((arguments or {}).get("lr_scheduler_type", ""))),
        ("factor on the learning rate", _plain(recipe.get("learning_rate_scale") or {})),
        ("encoder settings", _plain(recipe.get("encoder_settings") or {})),
        ("head", ", ".join(filter(None, (head.get("head"), head.get("start"))))),
        ("head, labels taken over from the base", ", ".join(map(str, head.get("kept_labels") or ()))),
        ("head dropout", _plain(recipe["head_dropout"]) if recipe.get("head_dropout") else ""),
        ("pooled features", "standardised over the training clips" if recipe.get("normalize_features") else ""),
        ("augmentation", _plain(run["augmentation"] or "none") if "augmentation" in run else ""),
        ("segments", _segments(run["segment_seconds"]) if run.get("segment_seconds") else ""),
        ("early stopping", _patience(run["patience"]) if "patience" in run else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _segments(seconds: float) -> str:
    return f"at most {seconds:g} s"


def _patience(evaluations: int | None) -> str:
    return "none" if evaluations is None else f"after {evaluations} evaluations without a better validation UAR"


def _course(run: Mapping[str, Any]) -> list[str]:
    sentences = []
    if (best := run.get("best")) and best.get("validation_uar") is not None:
        place = ", ".join(f"{key} {best[key]:g}" for key in ("step", "epoch") if best.get(key) is not None)
        where = f" ({place})" if place else ""
        of = f" {run['steps']:,} steps were trained." if run.get("steps") else ""
        sentences.append(
            f"Kept is the checkpoint{where} with the best UAR on the validation part, "
            f"{percent(best['validation_uar'])} %.{of}"
        )
    if (loss := run.get("training_loss")) is not None:
        sentences.append(f"Mean training loss: {loss:.3f}.")
    if alive := entry(run, "model", "adapters_alive"):
        sentences.append(f"Before the first step, each of the {alive} adapters was seen to get a gradient.")
    if noise := entry(run, "model", "dropout"):
        rates = _plain(noise.get("rates") or {})
        with_noise, without = noise.get("loss_with"), noise.get("loss_without")
        if rates and with_noise is not None and without is not None:
            sentences.append(
                f"What training mode switches on ({rates}) took the loss of one batch from {without:.2f} to "
                f"{with_noise:.2f} before the first step."
            )
    return [" ".join(sentences)] if sentences else []


def environment(run: Mapping[str, Any]) -> str | None:
    """Return seeds, hardware, time, memory, emissions and versions; None where nothing is recorded."""
    hardware: Mapping[str, Any] = run.get("hardware") or {}
    accelerator = hardware.get("accelerator")
    devices = f"{hardware.get('accelerators', 1)} x {accelerator}" if accelerator else None
    count = hardware.get("threads")
    threads = f"{count} thread{'s' if count != 1 else ''}" if count else None
    memory = {place: size for place, size in (run.get("peak_memory_bytes") or {}).items() if size}
    rows = [
        ("seeds", _plain(run.get("seeds") or {})),
        ("hardware", ", ".join(filter(None, (hardware.get("platform"), threads, devices)))),
        ("seconds", ", ".join(f"{name} {seconds:,.0f}" for name, seconds in (run.get("seconds") or {}).items())),
        ("peak memory", ", ".join(f"{place} {size / 2**30:.2f} GiB" for place, size in memory.items())),
        ("emissions", _emissions(run.get("emissions") or {})),
        ("versions", _plain(run.get("versions") or {})),
    ]
    rows = [(name, value) for name, value in rows if value]
    return markdown_table(("fact", "value"), rows, numbers=False) if rows else None


def _emissions(measured: Mapping[str, Any]) -> str:
    if measured.get("grams") is None:
        return ""
    energy = f", {measured['kilowatt_hours']:.4g} kWh" if measured.get("kilowatt_hours") is not None else ""
    covers = f", {measured['covers']}" if measured.get("covers") else ""
    source = ", ".join(str(measured[key]) for key in ("source", "country") if measured.get(key))
    return f"{measured['grams']:.4g} g CO2 equivalents{energy}{covers}" + (f" ({source})" if source else "")


def _parts(run: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry(run, "dataset", "parts") or {}


def _clips_of(part: Mapping[str, Any], label: str) -> int:
    return sum(counts.get(label, 0) for counts in (part.get("counts") or {}).values())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(of)}" for key, of in value.items()) if value else ""
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(of) for of in value) or "none"
    return "none" if value is None else str(value)
