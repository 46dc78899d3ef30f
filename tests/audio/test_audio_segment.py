"""Segments cover the clip, are all of one length, and average back to the clip they came from."""

import numpy as np
import pytest

from hf_ser.audio.segment import average_by_clip, segments


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 159, 160, 161, 239, 240, 241, 1000])
def test_segments_cover_the_clip_and_are_of_one_length(samples):
    bounds = segments(samples, maximum=80)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == samples
    assert {stop - start for start, stop in bounds} == {min(samples, 80)}
    assert all(start <= before for (start, _), (_, before) in zip(bounds[1:], bounds, strict=False))
    assert len(bounds) == -(-samples // 80)
    assert len(set(bounds)) == len(bounds)


def test_average_does_not_depend_on_the_order_of_the_segments():
    generator = np.random.default_rng(0)
    scores, clip_index = generator.random((50, 8)), np.concatenate([np.arange(7), generator.integers(0, 7, 43)])
    order = generator.permutation(50)
    expected = np.stack([scores[clip_index == clip].mean(axis=0) for clip in range(7)])
    np.testing.assert_allclose(average_by_clip(scores, clip_index, 7), expected)
    np.testing.assert_allclose(average_by_clip(scores[order], clip_index[order], 7), expected)


@pytest.mark.parametrize("clip_index", [[0, 0], [0, 2]])
def test_a_clip_without_a_segment_is_an_error(clip_index):
    with pytest.raises(ValueError, match="of 2 clips, one has no segment"):
        average_by_clip([[1.0], [2.0]], clip_index, 2)
