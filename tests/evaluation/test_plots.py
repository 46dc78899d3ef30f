"""The confusion figure: what is drawn where, without pyplot."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hf_ser.errors import InputError
from hf_ser.evaluation.plots import plot_confusion
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
from hf_ser.evaluation.plots import plot_confusion
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
