"""Pooled features of a frozen encoder: one pass a clip, whatever the number of epochs and runs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from hf_ser.models.encoders import architecture_of, part_of
from hf_ser.models.head import plain_model, pooled_inputs
from hf_ser.models.rewrites import FrontEnd

__all__ = ["FeatureStore", "encoder_fingerprint", "extract_pooled_features"]

logger = logging.getLogger(__name__)


def encoder_fingerprint(model: Any, feature_extractor: Any) -> str:
    """Return a SHA-256 over what decides the pooled features: the weights before the head, and the preprocessor.

    Args:
        model: A `*ForSequenceClassification` model, before an adapter is put on its encoder.
        feature_extractor: Its preprocessor.
    """
    base = plain_model(model)
    architecture = architecture_of(base.config)
    digest = hashlib.sha256(json.dumps(feature_extractor.to_dict(), sort_keys=True, default=str).encode())
    digest.update(type(base).__name__.encode())
    digest.update(str(getattr(base.config, "use_weighted_layer_sum", False)).encode())
    for name, tensor in sorted(base.state_dict().items()):
        if part_of(name, architecture) != "head":
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class FeatureStore:
    """Pooled features on disk, shared by all runs that read the same clips through the same encoder.

    Args:
        folder: Where the files lie; None keeps nothing. They are safetensors and may be deleted at any time.

    Example:
        >>> store = FeatureStore(None)
        >>> store.get(["encoder", "clips"], lambda: torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def default(cls) -> FeatureStore:
        """Return the store in the Hugging Face cache folder (`HF_HOME`)."""
        from huggingface_hub.constants import HF_HOME

        return cls(Path(HF_HOME) / "hf_ser" / "pooled_features")

    def get(self, key: Iterable[str], compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the features stored under a key, computed now where they are not.

        Args:
            key: All that decides the features.
            compute: Computes them, `(items, hidden)`.
        """
        if self._folder is None:
            return compute()
        from safetensors import SafetensorError
        from safetensors.torch import load_file, save_file

        name = hashlib.sha256("\n".join(key).encode()).hexdigest()
        file = self._folder / f"{name}.safetensors"
        if file.is_file():
            try:
                found = load_file(str(file))["features"]
                logger.info("pooled features of %d segments come from %s", len(found), file)
                return found
            except (SafetensorError, KeyError, OSError):
                logger.warning("%s is damaged; its features are computed again", file)
        features = compute().contiguous()
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=self._folder, suffix=".partial")
        os.close(handle)
        save_file({"features": features}, partial)
        Path(partial).replace(file)
        return features


def extract_pooled_features(
    model: Any,
    items: Any,
    collate: Callable[[list[Any]], dict[str, torch.Tensor]],
    *,
    batch_size: int,
    workers: int = 0,
    description: str = "encoder pass",
    progress: bool = True,
) -> torch.Tensor:
    """Pass every item through the encoder once, in evaluation mode, and pool its frames.

    Args:
        model: A `*ForSequenceClassification` model; the features are those that enter its projector.
        items: A map-style data set whose items `collate` turns into a batch; items of like length side by side are
            fastest.
        collate: Makes a batch of items.
        batch_size: Items a batch; 1 for encoders whose output depends on padding.
        workers: Processes that decode.
        description: What the progress bar says.
        progress: Whether to show one.

    Returns:
        Features `(items, hidden)`, float32, on the CPU.
    """
    from torch.utils.data import DataLoader
    from tqdm.auto import tqdm

    was_training = model.training
    # Freezing alone does not switch dropout, LayerDrop and SpecAugment off.
    model.eval()
    device = next(model.parameters()).device
    loader: Any = DataLoader(items, batch_size=batch_size, collate_fn=collate, num_workers=workers)
    found = []
    bar = tqdm(total=len(items), desc=description, unit="clip", disable=not progress)
    with torch.inference_mode(), FrontEnd(model).active(), pooled_inputs(model), bar:
        for batch in loader:
            batch.pop("labels", None)
            pooled = model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
            found.append(pooled.float().cpu())
            bar.update(len(pooled))
    model.train(was_training)
    return torch.cat(found).clone() if found else torch.empty(0)
