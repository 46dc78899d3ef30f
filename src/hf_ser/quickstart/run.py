"""Run the three recipes on the offline example."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hf_ser.evaluation.report import render_table
from hf_ser.models.recipes import PAPER_RECIPES, RECIPES
from hf_ser.quickstart.corpora import write_synthetic_corpora
from hf_ser.quickstart.encoder import write_tiny_encoder
from hf_ser.training.arguments import training_arguments
from hf_ser.training.finetune import finetune
from hf_ser.training.folder import OutputFolder

_EPOCHS = {"full": 4, "lora_qkv": 4, "lora_classifier": 60}


def run_quickstart(output_dir: str | Path = "quickstart") -> str:
    """Write synthetic corpora and a tiny encoder, run the three recipes on them, and return a table of the results.

    The speech is synthetic and the encoder random: the figures only show that the pipeline runs. The folder must be
    absent, empty, or that of an earlier quickstart, which is replaced.
    """
    folder = Path(output_dir)
    mark = folder / "quickstart.json"
    if mark.is_file():
        shutil.rmtree(folder)
    else:
        OutputFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"synthetic": True, "recipes": PAPER_RECIPES}) + "\n")
    corpora, encoder = folder / "corpora", folder / "encoder"
    write_synthetic_corpora(corpora)
    write_tiny_encoder(encoder)
    results = {}
    for name in PAPER_RECIPES:
        recipe = RECIPES[name]
        print(f"\n{name}: {recipe.summary}", flush=True)  # noqa: T201 - progress, as the bars below it
        arguments = training_arguments(recipe, folder / name, num_train_epochs=_EPOCHS[name], use_cpu=True)
        result = finetune(str(encoder), corpora, recipe=name, output_dir=folder / name, args=arguments)
        results[name] = result.metrics
    title = "Table 3 of this run (synthetic speech and a random encoder: it only shows that the pipeline runs)"
    files = [f"{name}: model card {folder / name / 'README.md'}, confusion plot {folder / name / 'confusion.png'}"
             for name in PAPER_RECIPES]  # fmt: skip
    return "\n".join(["", title, "", render_table(results), "", *files])
