"""95 % intervals: Wilson's for one recall, a bootstrap over speakers for everything else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.evaluation.metrics.counts import confusion_counts

CONFIDENCE = 0.95
RESAMPLES = 2000


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % score interval of a proportion, or None without trials.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927. It assumes independent
    trials; clips of one speaker are not independent, so it is too narrow where speakers are few.

    Example:
        >>> [round(bound, 3) for bound in wilson_interval(35, 39)]
        [0.764, 0.959]
    """
    if not trials:
        return None
    from scipy.stats import binomtest

    bounds = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(bounds.low), float(bounds.high)


def bootstrap_counts(counts: ArrayLike, resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return confusion counts `(resamples, ..., classes, classes)` of samples that draw speakers with replacement.

    The clips of a speaker stay together, since they are not independent (cluster bootstrap: Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 3.8). A sample is a weighted sum of the speakers' `counts`
    `(speakers, ..., classes, classes)`.
    """
    cells = np.asarray(counts, dtype=np.float64)
    speakers = len(cells)
    weights = generator.multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    return np.tensordot(weights.astype(np.float64), cells, axes=1)


def speaker_draws(
    decisions: ArrayLike,
    references: ArrayLike,
    labels: int,
    corpora: Sequence[str],
    speakers: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Return by corpus the counts of samples of its speakers, alike for several models.

    `decisions` are `(models, clips)`; the counts are `(resamples, models, labels, labels)`, see `bootstrap_counts`.
    """
    generator, decided, truth = np.random.default_rng(seed), np.asarray(decisions), np.asarray(references)
    corpus_of, speaker_of, draws = np.asarray(corpora), np.asarray(speakers), {}
    for corpus in sorted(set(corpora)):
        rows = corpus_of == corpus
        by_speaker = (rows & (speaker_of == who) for who in np.unique(speaker_of[rows]))
        counts = [[confusion_counts(it[of], truth[of], labels) for it in decided] for of in by_speaker]
        draws[corpus] = bootstrap_counts(counts, resamples, generator)
    return draws


def percentile_interval(draws: ArrayLike) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of bootstrap values (percentile interval).

    Example:
        >>> [round(bound, 3) for bound in percentile_interval(range(201))]
        [5.0, 195.0]
    """
    tail = 50 * (1 - CONFIDENCE)
    lower, upper = np.percentile(np.asarray(draws, dtype=np.float64), [tail, 100 - tail])
    return float(lower), float(upper)
