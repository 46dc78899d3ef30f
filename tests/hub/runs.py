"""Folders as `finetune` leaves them, made without training."""

import json
from pathlib import Path

import torch
from golden import read_records

from hf_ser.hub.card import render_model_card
from hf_ser.models.adapting import adapt
from hf_ser.models.checkpoint import save_model
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.head import FeatureStatistics, attach
from hf_ser.models.probe import PROBE, probe_logits
from hf_ser.models.recipes import RECIPES


def trained_model(base: Path, recipe: str, labels, seed: int = 5):
    """Return a model whose weights were moved as by training, and its feature extractor."""
    torch.manual_seed(seed)
    model = adapt(open_encoder(base, labels, seed=4)[0], RECIPES[recipe]).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    attach(model, FeatureStatistics(torch.randn(32), 0.5 + torch.rand(32)))
    return model, open_feature_extractor(base)


def write_run(folder: Path, base: Path, recipe: str, seed: int = 5) -> Path:
    """Write a finished run of a recipe on an encoder in a folder."""
    run, metrics = read_records(recipe)
    model, feature_extractor = trained_model(base, recipe, run["labels"], seed)
    save_model(model, folder, feature_extractor, base_name=str(base))
    run["model"] |= {"name": str(base), "local": True, "revision": None}
    run["dataset"] |= {"name": str(folder / "corpora"), "local": True}
    run["probe"] = {"clips": PROBE, "logits": probe_logits(model, feature_extractor)}
    files = {
        "run.json": json.dumps(run),
        "metrics.json": json.dumps(metrics),
        "predictions.csv": "clip_id,emotion\n",
        "report.md": f"# Report on `{base}`\n",
        "confusion.png": "an image",
        "README.md": render_model_card(run, metrics),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
