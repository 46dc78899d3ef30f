"""Time the parts of an evaluation that have a goal: the bootstrap over speakers of 12,000 clips.

python benchmarks/evaluation.py
"""

import platform
import time

import numpy as np

from hf_ser.evaluation.intervals import percentile_interval, speaker_draws
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.scores import evaluate_scores

CLIPS, SPEAKERS, LABELS, RESAMPLES, ROUNDS = 12_000, 120, 8, 2_000, 5


def naive(decisions: np.ndarray, truth: np.ndarray, speakers: np.ndarray, seed: int) -> tuple[float, float]:
    """The loop that people write: draw speakers, gather their clips, score them."""
    from sklearn.metrics import balanced_accuracy_score

    draw, names = np.random.default_rng(seed), np.unique(speakers)
    rows = {name: np.flatnonzero(speakers == name) for name in names}
    values = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([rows[name] for name in draw.choice(names, len(names))])
        values.append(balanced_accuracy_score(truth[chosen], decisions[chosen]))
    return percentile_interval(values)


def main() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, LABELS, CLIPS)
    speakers = np.array([f"s{number:03}" for number in draw.integers(0, SPEAKERS, CLIPS)])
    scores = draw.dirichlet(np.ones(LABELS), CLIPS)
    scores[np.arange(CLIPS), truth] += 0.4
    scores /= scores.sum(axis=1, keepdims=True)
    decisions = scores.argmax(axis=1)
    corpora = ["corpus"] * CLIPS
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print("| what | seconds |\n|---|---:|")
    for name, run in (
        ("bootstrap", lambda: percentile_interval(unweighted_average_recall(
            speaker_draws([decisions], truth, LABELS, corpora, speakers.tolist(), RESAMPLES, 0)["corpus"][:, 0]))),
        ("all figures with their intervals", lambda: evaluate_scores(
            scores, truth, [str(it) for it in range(LABELS)], corpora, speakers.tolist(), 0, RESAMPLES)),
        ("loop over samples with scikit-learn", lambda: naive(decisions, truth, speakers, 0)),
    ):  # fmt: skip
        seconds = []
        for _ in range(ROUNDS if name != "loop over samples with scikit-learn" else 1):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(f"| {name} | {np.median(seconds):.2f} |")


if __name__ == "__main__":
    main()
