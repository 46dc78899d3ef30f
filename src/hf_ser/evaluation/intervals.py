"""95 % intervals and p-values: Wilson's for one recall, a bootstrap over speakers for everything else."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.evaluation.metrics.counts import confusion_counts

CONFIDENCE = 0.95
POWER = 0.8
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

    A sample is a weighted sum of the speakers' `counts` `(speakers, ..., classes, classes)` (cluster bootstrap: Davison
    and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
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


def bootstrap_p_value(differences: ArrayLike) -> float:
    """Return the two-sided p-value of a difference from its bootstrap values.

    Twice the smaller share of values on either side of 0, each counted with one more value (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 4.2).

    Example:
        >>> bootstrap_p_value([0.1] * 97 + [-0.1] * 2)
        0.06
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size or np.isnan(values).any():
        raise ValueError("the bootstrap values of a difference are none, or contain NaN")
    below, above = (values <= 0).sum() + 1, (values >= 0).sum() + 1
    return float(min(1.0, 2 * min(below, above) / (len(values) + 1)))


def smallest_difference(differences: NDArray[np.float64]) -> float:
    """Return the smallest true difference that clips and speakers like these show in 80 % of the cases, at 5 %.

    (z_0.975 + z_0.8) times the standard error, which is the bootstrap values' standard deviation (Bloom, Minimum
    Detectable Effects, Evaluation Review 19, 1995).

    Example:
        >>> round(smallest_difference(np.array([-0.01, 0.01])), 3)
        0.028
    """
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2) + NormalDist().inv_cdf(POWER)
    return float(z * np.std(differences))
