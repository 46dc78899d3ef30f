"""A run's passes through what its recipe freezes: which states are kept, where, and the proof that they are right."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch

from hf_ser.audio.collate import Collator, minimum_samples
from hf_ser.cache import CacheFolder, Share
from hf_ser.errors import InputError
from hf_ser.models.encoders import depends_on_padding
from hf_ser.models.features import FeatureCache
from hf_ser.models.prefix import FEATURES, POOLED, POOLED_LAYERS, Prefix, PrefixedModel, prefix_of
from hf_ser.models.recipes import Recipe
from hf_ser.training.items import ClipItems, PooledItems, StateItems
from hf_ser.training.streamed_trainer import streamed_features
from hf_ser.training.streaming import HEAD_START_SEGMENTS, StreamedClips

__all__ = ["FrozenPasses", "behind_prefix", "check_prefix"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class FrozenPasses:
    """Passes clips through frozen parts, each clip once.

    Attributes:
        feature_extractor: The encoder's preprocessor.
        config: The encoder's configuration.
        own: A folder that goes with the run.
        shared: The folder that runs share; None keeps nothing beyond this run, and of states by frames nothing
            at all.
        batch_size: Clips a batch, at most.
        workers: Processes that read and augment.
        share: What the processes of a distributed run share.
        progress: Whether to show bars.
        epochs: How often training will read each training clip.
    """

    feature_extractor: Any
    config: Any
    own: CacheFolder
    shared: CacheFolder | None
    batch_size: int
    workers: int = 0
    share: Share = field(default_factory=Share)
    progress: bool = True
    epochs: float = math.inf
    _caches: dict[tuple[str, int], FeatureCache | None] = field(default_factory=dict)
    _streamed: dict[str, torch.Tensor] = field(default_factory=dict)

    def cache(self, prefix: Prefix, clips: Mapping[str, ClipItems]) -> FeatureCache | None:
        """Return where the states of a frozen part are kept, or None where each batch passes it again.

        Args:
            prefix: The frozen part.
            clips: The segments of each part of the data set, which have to fit into the folder together.
        """
        name = (prefix.stage, prefix.frozen_layers)
        if name not in self._caches:
            size = sum(
                4 * prod(prefix.shape(int(length))) * len({*items.views, None})
                for items in clips.values()
                for length in items.longest_lengths
            )
            what = f"the states behind the frozen part ({prefix.stage})"
            fits = self.shared is not None and self.shared.reserve(size, what)
            folder = self.shared if fits else self.own if prefix.is_pooled else None
            self._caches[name] = None if folder is None else FeatureCache(folder, prefix, self.feature_extractor)
        return self._caches[name]

    def states(self, cache: FeatureCache, items: ClipItems, part: str, *, augmented: bool) -> StateItems:
        """Return the states of some segments, those that no run has made yet made now.

        Args:
            cache: Where they are kept.
            items: The segments.
            part: Name of the part of the data set.
            augmented: Whether to make them of every view of the audio, instead of the audio as it is.
        """
        # SpecAugment, which comes right after the convolutions, needs more frames than a short clip may have.
        training = part == "train" and cache.prefix.stage == FEATURES
        collate = Collator(self.feature_extractor, self.config, training=training)
        minimum = minimum_samples(self.config, training)
        views = items.views if augmented else [None]
        longest = items.longest_lengths
        cache.fill(
            [
                (items.key(item, view, minimum), item if view is None else (view, item), int(longest[item]))
                for view in views
                for item in range(len(items))
            ],
            items,
            collate,
            batch_size=self.batch_size,
            workers=self.workers,
            share=self.share,
            description=f"{part} clips through the frozen part",
            progress=self.progress,
        )
        made = StateItems(items, cache, minimum)
        if cache.prefix.is_pooled:
            for view in views:
                made.matrix(view)
        return made

    def start(self, model: Any, chosen: Recipe, clips: Mapping[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the pooled features `(segments, hidden)` that a head starts from, and the segments they are of.

        Args:
            model: The plain model, before an adapter is put on its encoder.
            chosen: The recipe.
            clips: The segments of each part of the data set.
        """
        train = clips["train"]
        if not isinstance(train, StreamedClips):
            return self.pooled(model, chosen, clips), train
        if chosen.encoder_is_frozen:
            return self.streamed(model, train, "train"), train
        met = train.sample(HEAD_START_SEGMENTS)
        return self._stream(model, met, "train"), met

    def streamed(self, model: Any, items: StreamedClips, part: str) -> torch.Tensor:
        """Return the pooled features `(segments, hidden)` of a streamed part, kept in memory for this run."""
        if part not in self._streamed:
            self._streamed[part] = self._stream(model, items, part)
        return self._streamed[part]

    def _stream(self, model: Any, items: StreamedClips, part: str) -> torch.Tensor:
        # Their bytes are not known beforehand, so nothing that is kept on disk could be known to be theirs.
        return streamed_features(
            model,
            items,
            Collator(self.feature_extractor, self.config, training=False),
            batch_size=1 if depends_on_padding(self.config) else self.batch_size,
            workers=self.workers,
            description=f"pooled features of the {part} clips",
            progress=self.progress,
        )

    def pooled(self, model: Any, chosen: Recipe, clips: Mapping[str, ClipItems], part: str = "train") -> torch.Tensor:
        """Return the pooled features `(segments, hidden)` of a part, unaugmented.

        Args:
            model: The plain model, before an adapter is put on its encoder.
            chosen: The recipe; where it trains the weights of the layers, a pooled vector of each layer is kept.
            clips: The segments of each part of the data set.
            part: Whose features.
        """
        weighted = hasattr(model, "layer_weights") and "layer_weights" in chosen.trained_parts
        layers = weighted and chosen.encoder_is_frozen
        cache = self.cache(Prefix(model, POOLED_LAYERS if layers else POOLED), clips)
        if cache is None:
            raise RuntimeError("pooled features are always kept for the run")
        features = torch.from_numpy(self.states(cache, clips[part], part, augmented=False).matrix())
        if layers:
            weights = model.layer_weights.detach().cpu().softmax(dim=-1)
            features = (features * weights.view(1, -1, 1)).sum(dim=1)
        return features


def behind_prefix(
    adapted: Any, chosen: Recipe, passes: FrozenPasses, clips: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return what is left to train behind the frozen part, the items that it reads, and facts for the record.

    Args:
        adapted: The adapted model.
        chosen: The recipe.
        passes: Makes and keeps the states.
        clips: The segments of each part of the data set.

    Raises:
        InputError: The recipe asks for upper layers alone, and this version of `transformers` has other insides
            than those known here.
    """
    prefix = prefix_of(adapted, chosen)
    if prefix is None:
        return adapted, dict(clips), {}
    model = PrefixedModel(adapted, prefix)
    difference = check_prefix(model, Collator(passes.feature_extractor, passes.config, training=False), clips["train"])
    facts = {"stage": prefix.stage, "largest_difference": difference}
    if prefix.frozen_layers:
        facts["frozen_layers"] = prefix.frozen_layers
    if difference > 1e-3:
        if prefix.stage != FEATURES:
            raise InputError(
                f"recipe '{chosen.name}': the logits behind the frozen part differ by {difference:.1g} from the "
                "model's; this version of transformers is not supported here: install the one in constraints.txt"
            )
        logger.warning("the convolutions run in every step: apart from the rest, logits differ by %.1g", difference)
        return adapted, dict(clips), facts
    if isinstance(clips["train"], StreamedClips):
        if prefix.stage != POOLED or clips["train"].is_augmented:
            return model, dict(clips), facts
        return (
            model,
            {part: PooledItems(passes.streamed(prefix.model, each, part), each) for part, each in clips.items()},
            facts,
        )
    cache = passes.cache(prefix, clips)
    facts["kept"] = cache is not None
    if cache is None:
        return model, dict(clips), facts
    items: dict[str, Any] = dict(clips)
    for part, each in clips.items():
        # States that are read once are worth no pass of their own.
        if part != "train" or (each.views and (prefix.is_pooled or passes.epochs > len(each.views))):
            items[part] = passes.states(cache, each, part, augmented=part == "train")
    facts |= {"passed": cache.added, "cache_bytes": cache.size()}
    return model, items, facts


@torch.no_grad()
def check_prefix(model: PrefixedModel, collate: Callable[[list[Any]], Any], items: ClipItems, count: int = 2) -> float:
    """Return how far the logits of a model behind its frozen part are from those of the whole, over their scale.

    Args:
        model: The model behind its frozen part.
        collate: Makes batches for evaluation.
        items: Segments, longest first; the shortest are compared, alone and in one batch.
        count: How many.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    clips = [items[item] for item in range(max(0, len(items) - count), len(items))]
    batches = [{name: tensor.to(device) for name, tensor in collate([clip]).items()} for clip in clips]
    expected = torch.cat([model.model(**_without_labels(batch)).logits for batch in batches])
    together = {name: tensor.to(device) for name, tensor in collate(clips).items()}
    found = model(**_without_labels(together))["logits"]
    model.train(was_training)
    return float((expected - found).abs().max() / expected.abs().max().clamp_min(1.0))


def _without_labels(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in batch.items() if name != "labels"}
