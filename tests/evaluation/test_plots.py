"""The confusion figure: what is drawn where, without pyplot."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.eer import equal_error_rate
from hf_ser.evaluation.plots import plot_confusion, plot_robustness, plot_scores, plot_sources
from hf_ser.labels import EMOTIONS

COUNTS = np.random.default_rng(0).integers(0, 60, (8, 8)) + 200 * np.eye(8, dtype=int)


def test_is_a_png_large_enough_to_read_and_always_the_same(tmp_path):
    # The suffix does not choose the format.
    first, second = (plot_confusion(COUNTS, EMOTIONS, tmp_path / name, "A title") for name in ("1.png", "figure"))
    assert (first, second) == (tmp_path / "1.png", tmp_path / "figure")
    height, width = imread(first).shape[:2]
    assert 1000 < height < width < 2000
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[:4] == b"\x89PNG"


def test_leaves_pyplot_alone(tmp_path):
    program = f"""
import sys
from hf_ser.evaluation.plots import plot_confusion, plot_robustness, plot_scores, plot_sources
plot_confusion([[1, 2], [3, 4]], ["calm", "sad"], {str(tmp_path / "c.png")!r}, "")
print("matplotlib.pyplot" in sys.modules)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "False\n"


def test_refuses_counts_of_another_size_and_says_what_cannot_be_written(tmp_path):
    for counts in ([[1, 2]], [1, 2], [[1, 2, 3]] * 3):
        with pytest.raises(InputError, match="give one row and one column per label"):
            plot_confusion(counts, ["calm", "sad"], tmp_path / "d.png", "")
    with pytest.raises(InputError, match=r"absent/d.png' cannot be written: No such file"):
        plot_confusion([[1, 2], [3, 4]], ["calm", "sad"], tmp_path / "absent" / "d.png", "")


def drawn(monkeypatch):
    """Return the figures that are saved from now on."""
    from matplotlib.figure import Figure

    kept, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **options: (kept.append(self), save(self, *given, **options))
    )
    return kept


def test_the_plots_of_scores(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    table = draw.dirichlet(np.ones(4), 300)
    references = np.where(draw.random(300) < 0.6, table.argmax(axis=1), draw.integers(0, 4, 300))
    figures = drawn(monkeypatch)
    plot_scores(table, references, tmp_path / "scores.png", "A title")
    axes = {it.get_title(): it for it in figures[0].axes}
    assert list(axes) == ["Reliability", "ROC", "DET", "Risk and coverage"]
    eer = equal_error_rate(table.ravel(), (references[:, None] == np.arange(4)).ravel())
    labels = axes["ROC"].get_legend_handles_labels()[1]
    assert f"EER {100 * eer:.1f} %" in labels
    answered = axes["Risk and coverage"].lines[0].get_xydata()
    assert answered[-1] == pytest.approx([100, 100 * (table.argmax(axis=1) != references).mean()])
    # Perfect and constant scores have no curve to draw on axes of deviates, and are no error.
    plot_scores(np.eye(4)[references], references, tmp_path / "perfect.png", "")
    plot_scores(np.full((300, 4), 0.25), references, tmp_path / "constant.png", "")


def test_the_plots_of_sources_and_of_robustness(tmp_path, monkeypatch):
    figures = drawn(monkeypatch)
    measures = {
        "tess": {"uar": 0.5, "intervals": {"uar": None}},
        "pooled": {"uar": 0.6, "intervals": {"uar": [0.5, 0.7]}},
    }
    plot_sources(measures, tmp_path / "sources.png", "A title")
    assert [line.get_xdata().tolist() for line in figures[0].axes[0].lines] == [[50], [50, 70], [60]]
    points = [{"strength": snr, "uar": 0.5, "unchanged": 0.9} for snr in (20, 0)]
    curves = {name: {"unit": "dB", "points": points} for name in ("white_20db", "babble_20db", "speed", "pitch")}
    plot_robustness(curves, tmp_path / "curves.png", "A title")
    shown = [axes.get_title() for axes in figures[1].axes if axes.get_visible()]
    assert shown == ["white", "babble", "speed", "pitch"]
    assert figures[1].axes[0].lines[1].get_ydata() == pytest.approx([90, 90])
