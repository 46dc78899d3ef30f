"""Pooled states: what enters the head, the same alone and in a batch, kept between runs."""

import hashlib
import io

import numpy as np
import pytest
import soundfile
import torch

from hf_ser.audio.augment import Augmentation
from hf_ser.audio.clips import Segments
from hf_ser.inference import states as frozen
from hf_ser.inference.states import HeadOnly, pooled_states
from hf_ser.models.adapting import adapt
from hf_ser.models.checkpoint import open_model, save_model
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.head import FeatureStatistics, attach, head_logits
from hf_ser.models.recipes import recipe

GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
ENCODERS = {
    "hubert": ("hubert", {}),
    "hubert, group norm": ("hubert", GROUP),
    "hubert, post norm": ("hubert", {"do_stable_layer_norm": False}),
    "wav2vec2": ("wav2vec2", {}),
    "wav2vec2, group norm": ("wav2vec2", GROUP),
    "wavlm, group norm": ("wavlm", GROUP),
    "whisper": ("whisper", {}),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(count=10, offset=0):
    from datasets import Audio, Dataset

    columns = {"audio": [], "emotion": [], "audio_sha256": [], "clip_id": []}
    for clip in range(offset, offset + count):
        generator, file = np.random.default_rng(clip), io.BytesIO()
        soundfile.write(file, generator.normal(0, 0.1, 2000 + 1700 * (clip * 7 % 11)), 16_000, format="WAV")
        columns["audio"].append({"bytes": file.getvalue(), "path": None})
        columns["emotion"].append(clip % 8)
        columns["audio_sha256"].append(hashlib.sha256(file.getvalue()).hexdigest())
        columns["clip_id"].append(f"toy/{clip}")
    return Dataset.from_dict(columns).cast_column("audio", Audio(decode=False))


def segments(count=10, **options):
    options = {"sampling_rate": 16_000, "segment_seconds": 1.0, **options}
    return Segments(rows(count), **options)


def opened(encoder, case="hubert", **changes):
    architecture, own = ENCODERS[case]
    folder = str(encoder(architecture, **{**own, **changes}))
    return open_encoder(folder)[0], open_feature_extractor(folder)


def adapted(model, name="lora_qkv"):
    model = adapt(model, recipe(name))
    torch.manual_seed(0)
    for key, weight in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, std=0.1)
    return model


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", list(ENCODERS))
@torch.no_grad()
def test_head_on_pooled_states_gives_the_logits_of_each_clip_alone(case, weighted, encoder):
    model, extractor = opened(encoder, case, use_weighted_layer_sum=weighted)
    if weighted:
        torch.nn.init.normal_(model.layer_weights)
    hidden = model.config.hidden_size
    attach(model, FeatureStatistics(torch.linspace(-1, 1, hidden), torch.linspace(0.5, 2, hidden)))
    clips = segments()
    model.train()
    states = pooled_states(model, extractor, clips)
    assert all(module.training for module in model.modules()), "the model's mode must be restored"
    model.eval()
    assert states.dtype == np.float32
    logits = head_logits(model, torch.from_numpy(states))
    collate = frozen.Collator(extractor, model.config, training=False)
    alone = torch.cat([model(**collate([{"samples": item["samples"]}])).logits for item in clips])
    assert (logits - alone).abs().max() < 1e-5
    if weighted:
        layers = pooled_states(model, extractor, clips, layers=True)
        assert layers.shape == (len(clips), model.config.num_hidden_layers + 1, hidden)
        assert (head_logits(model, torch.from_numpy(layers)) - alone).abs().max() < 1e-5


def test_states_are_kept_until_something_that_decides_them_changes(encoder, monkeypatch, tmp_path):
    computed = []
    encode = frozen.encode
    monkeypatch.setattr(frozen, "encode", lambda *a, **b: computed.append(1) or encode(*a, **b))

    def is_computed(model, extractor, clips, **options):
        computed.clear()
        states = pooled_states(model, extractor, clips, **options)
        return bool(computed), states

    model, extractor = opened(encoder)
    first, states = is_computed(model, extractor, segments())
    again, same = is_computed(*opened(encoder), segments())
    assert first
    assert not again
    assert np.array_equal(states, same)
    # An adapter that trains the head alone, one that adds nothing yet, other settings of training: all the same.
    assert not is_computed(adapted(opened(encoder)[0], "lora_classifier"), extractor, segments())[0]
    assert not is_computed(adapt(opened(encoder)[0], recipe("lora_qkv")), extractor, segments())[0]
    assert not is_computed(opened(encoder, hidden_dropout=0.3)[0], extractor, segments())[0]
    save_model(adapted(opened(encoder)[0], "lora_classifier"), tmp_path / "saved", extractor, str(encoder()))
    assert not is_computed(*open_model(tmp_path / "saved"), segments())[0]
    assert is_computed(adapted(opened(encoder)[0]), extractor, segments())[0]
    # Other clips are put together from what is known; the clips in another part of another split are the same.
    fewer, few = is_computed(model, extractor, segments(9))
    assert not fewer
    assert np.array_equal(few, states[np.isin(segments().clip_index, range(9))])
    more, many = is_computed(model, extractor, segments(11))
    assert more
    assert np.array_equal(many[: len(states)], states)
    assert is_computed(model, extractor, segments(segment_seconds=0.5))[0]
    extractor.do_normalize = False
    assert is_computed(model, extractor, segments())[0]
    extractor.do_normalize = True
    louder = Augmentation(noise_probability=1.0, views=2)
    clips = segments(augmentation=louder)
    assert not is_computed(model, extractor, clips)[0]
    changed, augmented = is_computed(model, extractor, clips, epoch=0)
    assert changed
    assert not np.array_equal(augmented, states)
    assert is_computed(model, extractor, clips, epoch=1)[0]
    assert not is_computed(model, extractor, clips, epoch=2)[0]


def test_a_batch_that_does_not_fit_into_memory_is_halved(encoder, monkeypatch):
    model, extractor = opened(encoder)
    expected = pooled_states(model, extractor, segments())
    monkeypatch.setenv("HF_SER_CACHE", "off")
    pooled, sizes = frozen.pooled_inputs, []

    def small(model, batch, **options):
        sizes.append(len(batch["input_values"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("too large")
        return pooled(model, batch, **options)

    monkeypatch.setattr(frozen, "pooled_inputs", small)
    found = pooled_states(model, extractor, segments())
    assert max(sizes) > 2
    assert np.abs(found - expected).max() < 1e-5


def test_threads_share_a_model(encoder, monkeypatch):
    model, extractor = opened(encoder, "hubert, group norm")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        together = pooled_states(model, extractor, segments(24))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("HF_SER_CACHE", "off")
    monkeypatch.setitem(frozen._SECONDS_PER_BATCH, "cpu", 0.01)
    alone = pooled_states(model, extractor, segments(24))
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("layers", [False, True])
def test_training_the_head_alone_trains_the_model(layers, encoder):
    chosen = recipe("full", trains=("layer_weights", "head")) if layers else recipe("lora_classifier")
    model = adapt(opened(encoder, use_weighted_layer_sum=layers)[0], chosen)
    head = HeadOnly(model)
    states = torch.randn(6, 4, 32) if layers else torch.randn(6, 32)
    labels = torch.arange(6)
    output = head(states, labels=labels)
    expected = torch.nn.functional.cross_entropy(head_logits(model, states), labels)
    assert torch.equal(output["loss"], expected)
    output["loss"].backward()
    trained = {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert {id(weight) for weight in head.parameters() if weight.requires_grad} == trained
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


def test_no_segments_give_no_states(encoder):
    model, extractor = opened(encoder)
    assert pooled_states(model, extractor, segments(0)).shape == (0, 32)
