"""Many clips that pass a frozen part side by side leave there what each makes alone."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import hf_ser.models.features
from hf_ser.audio.collate import Collator
from hf_ser.cache import CacheFolder
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.features import FeatureCache
from hf_ser.models.prefix import FEATURES, HIDDEN, POOLED, POOLED_LAYERS, Prefix
from hf_ser.models.snapshot import open_snapshot

GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LENGTHS = np.random.default_rng(0).integers(2000, 16_000, 24).tolist()


class Clips(Dataset):
    def __len__(self):
        return len(LENGTHS)

    def __getitem__(self, item):
        samples = np.random.default_rng(item).normal(0, 0.1, LENGTHS[item])
        return {"samples": samples.astype(np.float32), "labels": 0}


@pytest.mark.parametrize("stage", [POOLED, POOLED_LAYERS, FEATURES, HIDDEN])
@pytest.mark.parametrize(
    ("architecture", "changes"), [("hubert", {}), ("hubert", GROUP), ("wav2vec2", {}), ("wavlm", {}), ("whisper", {})]
)
def test_threads_leave_what_each_clip_makes_alone(architecture, changes, stage, encoder, tmp_path, monkeypatch):
    if architecture == "whisper" and stage == FEATURES:
        pytest.skip("Whisper's convolutions are not kept")
    own = {"use_weighted_layer_sum": True} if stage == POOLED_LAYERS else {}
    snapshot = open_snapshot(str(encoder(architecture, **changes, **own)))
    model = open_encoder(snapshot)[0].train()
    extractor = open_feature_extractor(snapshot)
    collate = Collator(extractor, model.config, training=False)
    prefix = Prefix(model, stage, frozen_layers=1 if stage == HIDDEN else 0)
    monkeypatch.setattr(hf_ser.models.features, "pass_workers", lambda device: 4)
    cache = FeatureCache(CacheFolder(tmp_path, 1), prefix, extractor)
    clips, threads = Clips(), torch.get_num_threads()
    wanted = [(f"clip {item}", item, length) for item, length in enumerate(LENGTHS)]
    cache.fill(wanted, clips, collate, batch_size=4, progress=False)
    assert cache.added == len(LENGTHS)
    # Afterwards model and threads are as they were.
    assert model.training
    assert all(module.training for module in model.modules())
    assert torch.get_num_threads() == threads
    for key, item, length in wanted:
        batch = collate([clips[item]])
        batch.pop("labels")
        (alone,) = prefix.run(batch)
        states, samples = cache.read(key)
        assert states.shape == prefix.shape(length)
        assert samples == (0 if architecture == "whisper" else length)
        assert np.abs(states - alone.numpy()).max() < 1e-5
