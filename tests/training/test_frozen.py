"""A frozen encoder runs once for each clip, and its head trains on what it returned."""

import pytest

from hf_ser import Augmentation, finetune, recipe, training_arguments

RECIPES = {
    "lora_classifier": (recipe("lora_classifier", head_dropout=0.0), {}),
    "linear": (recipe("full", trains=("head",)), {}),
    "trained layers": (
        recipe("full", trains=("layer_weights", "head"), learning_rate=1e-2),
        {"use_weighted_layer_sum": True},
    ),
}


@pytest.fixture
def encoded(monkeypatch, tmp_path):
    """Return the number of clips in each pass through the encoder that had to be made, in a fresh cache."""
    from hf_ser.inference import states as frozen

    monkeypatch.setenv("HF_SER_CACHE", str(tmp_path / "cache"))
    counts, encode = [], frozen.encode

    def counted(model, collate, clips, **options):
        counts.append(len(clips))
        return encode(model, collate, clips, **options)

    monkeypatch.setattr(frozen, "encode", counted)
    return counts


def train(encoder, toy, out, chosen, *, augmentation=None, **changes):
    settings = {"num_train_epochs": 4, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    return finetune(
        encoder, toy, recipe=chosen, output_dir=out, augmentation=augmentation,
        args=training_arguments(chosen, out, **{**settings, **changes}),
    )  # fmt: skip


@pytest.mark.parametrize("name", list(RECIPES))
def test_each_clip_is_encoded_once(name, toy, encoder, encoded, tmp_path):
    chosen, changes = RECIPES[name]
    first = train(encoder(**changes), toy, tmp_path / "first", chosen)
    assert sum(encoded) == 32 + 16 + 24
    encoded.clear()
    again = train(encoder(**changes), toy, tmp_path / "again", chosen)
    assert sum(encoded) == 0
    assert again.metrics == first.metrics


def test_the_head_learns_what_it_would_within_the_model(toy, encoder, tmp_path, monkeypatch):
    chosen, _ = RECIPES["lora_classifier"]
    settings = {"optim": "sgd", "learning_rate": 0.1, "max_steps": 4}
    alone = train(encoder(), toy, tmp_path / "alone", chosen, **settings)
    # The whole model, on audio; it has no dropout that training mode would switch on.
    monkeypatch.setattr(type(chosen), "encoder_is_frozen", property(lambda _: False))
    within = train(encoder(), toy, tmp_path / "within", chosen, **settings)
    assert alone.run["history"] == within.run["history"] or (
        alone.run["history"][0]["loss"] == pytest.approx(within.run["history"][0]["loss"], rel=1e-3)
    )


def test_each_view_is_encoded_once_and_new_audio_in_each_epoch(toy, encoder, encoded, tmp_path):
    chosen, _ = RECIPES["lora_classifier"]
    noisy = {"noise_probability": 1.0, "time_stretch_probability": 1.0}
    two = train(encoder(), toy, tmp_path / "two", chosen, augmentation=Augmentation(views=2, **noisy))
    # The head starts from the audio as it is.
    assert sum(encoded) == 32 + 2 * 32 + 16 + 24
    encoded.clear()
    three = train(encoder(), toy, tmp_path / "three", chosen, augmentation=Augmentation(views=3, **noisy))
    assert sum(encoded) == 32
    encoded.clear()
    new = train(encoder(), toy, tmp_path / "new", chosen, augmentation=Augmentation(**noisy))
    # Views 0 to 2 are the audio of epochs 0 to 2.
    assert sum(encoded) == 32
    losses = [result.run["training_loss"] for result in (two, three, new)]
    assert len(set(losses)) == 3


def test_without_kept_data_a_run_still_encodes_once(toy, encoder, encoded, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SER_CACHE", "off")
    chosen, _ = RECIPES["lora_classifier"]
    train(encoder(), toy, tmp_path / "out", chosen)
    # Once for the start, once for all epochs; the saved model is evaluated on its own.
    assert sum(encoded) == 2 * (32 + 16) + 16 + 24
