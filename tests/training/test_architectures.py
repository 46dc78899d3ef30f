"""Every supported encoder runs from audio to a saved model, and batching never changes a score."""

import pytest

from hf_ser import finetune, load, recipe, training_arguments
from hf_ser.errors import InputError

CASES = {
    "wav2vec2": ("wav2vec2", "lora_qkv", {}),
    "wavlm": ("wavlm", "full", {}),
    "whisper": ("whisper", "lora_qkv", {}),
    "group norm": ("hubert", "full", {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}),
    "layerdrop, weighted sum": ("hubert", "full", {"use_weighted_layer_sum": True, "layerdrop": 0.3}),
    "SpecAugment": ("hubert", "lora_qkv", {"apply_spec_augment": True, "mask_time_prob": 0.1}),
}


@pytest.mark.parametrize("case", list(CASES))
def test_what_was_evaluated_in_batches_comes_back_one_by_one(case, toy, encoder, tmp_path):
    architecture, name, changes = CASES[case]
    chosen = recipe(name, segment_seconds=0.45)
    arguments = training_arguments(
        chosen, tmp_path, max_steps=2, per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True
    )
    result = finetune(encoder(architecture, **changes), toy, recipe=chosen, args=arguments, output_dir=tmp_path / "out")
    classifier = load(tmp_path / "out")
    assert classifier.segment_seconds == 0.45
    written = result.predictions.set_index("clip_id")
    for clip in toy["test"].select((0, 9, 23)):
        for label, score in classifier(clip["audio"]["path"])["scores"].items():
            assert abs(score - written.loc[clip["clip_id"], label]) < 2e-5, case


def test_a_head_that_was_taken_over_keeps_its_rows_at_the_start(toy, encoder, tmp_path):
    folder = encoder(labels=["neu", "hap", "ang", "sad"])
    result = finetune(
        folder, toy, recipe="full", output_dir=tmp_path / "out",
        args=training_arguments("full", tmp_path, learning_rate=0.0, max_steps=1, use_cpu=True, disable_tqdm=True),
    )  # fmt: skip
    assert result.run["head"]["kept_labels"] == ["angry", "happy", "neutral", "sad"]
    from hf_ser.models.encoders import open_encoder

    before, after = open_encoder(str(folder), seed=42)[0], load(tmp_path / "out").model
    assert (before.classifier.weight - after.classifier.weight).abs().max() < 1e-6
    assert (before.projector.weight - after.projector.weight).abs().max() < 1e-4


def test_lora_on_wavlm_leaves_nothing_behind(toy, encoder, tmp_path):
    with pytest.raises(InputError, match="wavlm"):
        finetune(encoder("wavlm"), toy, recipe="lora_qkv", output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()
