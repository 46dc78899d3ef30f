"""The probe tells models apart, and nothing else: not threads, not wrappers, not the precision they train in."""

import copy

import numpy as np
import pytest
import torch

from hf_ser.models.adapting import adapt
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.probe import probe_difference, probe_logits
from hf_ser.models.recipes import RECIPES


@pytest.mark.parametrize(
    ("architecture", "recipe"),
    [("hubert", "lora_qkv"), ("wav2vec2", "full"), ("wavlm", "lora_classifier"), ("whisper", "lora_qkv")],
)
def test_a_weight_that_moves_is_seen_and_a_copy_is_not(encoder, architecture, recipe):
    folder = encoder(architecture)
    torch.manual_seed(5)
    model = adapt(open_encoder(str(folder))[0], RECIPES[recipe])
    extractor = open_feature_extractor(str(folder))
    expected = probe_logits(copy.deepcopy(model), extractor)
    assert np.shape(expected) == (2, 8)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert probe_difference(expected, probe_logits(copy.deepcopy(model), extractor)) < 1e-13
    finally:
        torch.set_num_threads(threads)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        trained[-1].view(-1)[0] += 1e-3
    assert probe_difference(expected, probe_logits(model, extractor)) > 1e-6


def test_what_is_no_answer_is_infinitely_far_away():
    for found in ([[float("nan"), 0.0]], [[float("inf"), 0.0]], [[0.0]], []):
        assert probe_difference([[1.0, 2.0]], found) == float("inf")
    assert probe_difference([[float("nan"), 0.0]], [[float("nan"), 0.0]]) == float("inf")
    assert probe_difference([[0.5, -0.25]], [[0.5, -0.5]]) == 0.25
    assert probe_difference([[1.0, 50.0]], [[1.0, 55.0]]) == pytest.approx(0.1)
