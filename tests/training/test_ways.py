"""What a recipe can say beyond the paper's three: layers, adapters, losses, stages; each ends as plain files."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser import InputError, Recipe, finetune, load, recipe, training_arguments
from hf_ser.audio.collate import Collator
from hf_ser.dataset.source import open_dataset
from hf_ser.models.adapting import adapt, learning_rate_groups, prove_adapter_alive
from hf_ser.models.architectures import HEAD, architecture_of, layer_of
from hf_ser.models.encoders import open_encoder
from hf_ser.models.head import best_layers
from hf_ser.models.probe import probe_logits
from hf_ser.training.batches import soft_targets
from hf_ser.training.trainer import EmotionTrainer


def train(encoder, data, out, chosen, *, resume=False, **changes):
    settings = {"max_steps": 3, "per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True}
    arguments = training_arguments(chosen, out, **{**settings, **changes})
    return finetune(encoder, data, recipe=chosen, output_dir=out, args=arguments, resume=resume)


ADAPTERS = {
    "dora": recipe("lora_qkv", lora={"use_dora": True, "r": 2}),
    "rslora": recipe("lora_qkv", lora={"use_rslora": True, "r": 2}),
    "ia3": Recipe("ia3", "IA3.", ("head",), peft_type="ia3", lora={
        "target_modules": ["k_proj", "v_proj", "output_dense"], "feedforward_modules": ["output_dense"],
        "modules_to_save": HEAD}),
    "ln_tuning": Recipe("ln", "Layer norms.", ("head",), peft_type="ln_tuning", lora={
        "target_modules": ["layer_norm", "final_layer_norm"], "modules_to_save": HEAD}),
    "best layer": recipe("lora_qkv", layers="best"),
    "all layers": recipe("lora_all"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_every_adapter_that_peft_ships_is_saved_as_plain_peft_loads_it(name, toy, encoder, tmp_path):
    result = train(encoder(), toy, tmp_path / "out", ADAPTERS[name])
    config = AutoConfig.from_pretrained(str(result.output_dir))
    base = AutoModelForAudioClassification.from_pretrained(str(encoder()), config=config)
    plain = PeftModel.from_pretrained(base, str(result.output_dir)).eval()
    extractor = AutoFeatureExtractor.from_pretrained(str(result.output_dir))
    np.testing.assert_allclose(probe_logits(plain, extractor), result.run["probe"]["logits"], atol=1e-5)
    assert result.run["model"]["adapters_alive"] > 0


@pytest.mark.parametrize(
    "chosen", [recipe("layers"), recipe("full", layers="all", trains=("layer_weights", "head"), head_start="noise")]
)
def test_a_frozen_encoder_is_read_at_all_its_layers(chosen, toy, encoder, tmp_path):
    result = train(encoder(), toy, tmp_path / "out", chosen)
    plain = AutoModelForAudioClassification.from_pretrained(str(result.output_dir)).eval()
    shares = torch.softmax(plain.layer_weights.detach(), 0)
    if chosen.layers == "all":
        assert len(set(shares.tolist())) == len(shares) == 4
    else:
        first, last = result.run["head"]["layers"]
        assert shares[first : last + 1].tolist() == pytest.approx([1 / (last + 1 - first)] * (last + 1 - first))
        assert shares.sum() == pytest.approx(1)
    extractor = AutoFeatureExtractor.from_pretrained(str(result.output_dir))
    np.testing.assert_allclose(probe_logits(plain, extractor), result.run["probe"]["logits"], atol=1e-5)


@pytest.mark.parametrize("telling", [(2, 2), (1, 2), (0, 4)])
def test_the_best_layers_are_those_that_tell_the_labels(telling):
    draw = torch.Generator().manual_seed(0)
    states, labels = torch.randn(900, 5, 4, generator=draw), torch.arange(900) % 3
    for layer in range(telling[0], telling[1] + 1):
        states[:, layer, 0] += 1.0 * labels
        states[:, layer, 1] -= 1.0 * (labels == 1)
    parts = {"train": (states[:600], labels[:600].numpy()), "validation": (states[600:], labels[600:].numpy())}
    assert best_layers(parts, balanced=True) == telling


def test_stages_go_on_from_each_other_and_end_as_a_checkpoint(toy, encoder, tmp_path):
    last = {"trains": ["encoder", "head"], "lora": {}}
    stages = [{"trains": ["head"], "lora": {}}, {"learning_rate": 1e-2, "epochs": 1}, last]
    chosen = dataclasses.replace(recipe("lora_qkv"), name="staged", layers="best", stages=stages)
    result = train(encoder(), toy, tmp_path / "out", chosen)
    assert (result.output_dir / "model.safetensors").is_file()
    assert len(result.run["stages"]) == 2
    assert result.run["model"]["saved"] == "checkpoint"
    uars = [stage["best"]["validation_uar"] for stage in result.run["stages"]] + [result.run["best"]["validation_uar"]]
    assert all(0 <= uar <= 1 for uar in uars)
    assert result.run["recipe"]["stages"][1] == {"learning_rate": 1e-2, "epochs": 1}
    again = train(encoder(), toy, tmp_path / "again", chosen)
    assert again.metrics == result.metrics
    # Each stage starts from what the one before it saved.
    first = dataclasses.replace(chosen, stages=stages[:1])
    alone = train(encoder(), toy, tmp_path / "alone", first)
    assert alone.run["best"]["validation_uar"] == uars[0]


def test_stages_go_on_where_they_were_interrupted(toy, encoder, tmp_path, monkeypatch):
    stages = [{"trains": ["head"], "lora": {}}, {}]
    chosen = dataclasses.replace(recipe("lora_qkv"), name="staged", stages=stages)
    often = {"eval_strategy": "steps", "eval_steps": 1}
    whole = train(encoder(), toy, tmp_path / "whole", chosen, **often)
    steps, step = [], EmotionTrainer.training_step

    def ending(self, *given, **options):
        steps.append(self.state.global_step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return step(self, *given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(EmotionTrainer, "training_step", ending)
        with pytest.raises(KeyboardInterrupt):
            train(encoder(), toy, tmp_path / "killed", chosen, **often)
    steps.clear()
    monkeypatch.setattr(
        EmotionTrainer, "training_step", lambda *given, **options: steps.append(1) or step(*given, **options)
    )
    resumed = train(encoder(), toy, tmp_path / "killed", chosen, resume=True, **often)
    assert len(steps) == 2
    assert resumed.metrics == whole.metrics


def test_what_stages_cannot_say_is_refused(tmp_path, toy, encoder):
    with pytest.raises(InputError, match="are of the whole recipe"):
        dataclasses.replace(recipe("full"), stages=[{"layers": "all"}])
    with pytest.raises(InputError, match="has no field 'rate'"):
        dataclasses.replace(recipe("full"), stages=[{"rate": 1}])
    staged = dataclasses.replace(recipe("full"), stages=[{}])
    with pytest.raises(InputError, match="has stages; leave push_to out"):
        finetune(encoder(), toy, recipe=staged, output_dir=tmp_path / "out", push_to="me/model")


def test_layers_learn_at_rates_that_decay(encoder):
    model = adapt(open_encoder(str(encoder()))[0], chosen := recipe("full", layer_decay=0.5, learning_rate_scale={}))
    groups = learning_rate_groups(model, chosen, model.config, 1e-3, 0.0, set())
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    architecture, layers = architecture_of(model.config), model.config.num_hidden_layers
    for name, parameter in model.named_parameters():
        layer = layer_of(name, architecture)
        if layer is not None:
            assert rates[id(parameter)] == pytest.approx(1e-3 * 0.5 ** (layers - 1 - layer))
        elif name.startswith(HEAD):
            assert rates[id(parameter)] == 1e-3
        elif ".feature_extractor." in name:
            assert rates[id(parameter)] == pytest.approx(1e-3 * 0.5**layers)


@pytest.mark.parametrize("architecture", ["data2vec-audio", "wavlm", "whisper"])
def test_lora_all_trains_every_module_that_an_adapter_can(architecture, encoder):
    chosen = recipe("lora_all")
    model = open_encoder(str(encoder(architecture)), settings=chosen.settings)[0]
    adapted = adapt(model, chosen)
    name = "input_features" if architecture == "whisper" else "input_values"
    values = torch.randn(4, 80, 3000) if architecture == "whisper" else torch.randn(4, 8000)
    layers = len(adapted.get_base_model().get_submodule(architecture_of(model.config).layers))
    each = 2 if architecture == "wavlm" else 6
    assert prove_adapter_alive(adapted, {name: values, "labels": torch.arange(4)}, chosen) == each * layers


def test_data2vec_trains_and_reloads(toy, encoder, tmp_path):
    result = train(encoder("data2vec-audio"), toy, tmp_path / "out", recipe("layers"))
    assert AutoModelForAudioClassification.from_pretrained(str(result.output_dir)).config.model_type == "data2vec-audio"


def losses(chosen, logits, labels, targets=None, shares=(0.75, 0.25)):
    """Return the loss that the trainer computes, without its training."""
    trainer = EmotionTrainer.__new__(EmotionTrainer)
    trainer._label_weights = None
    trainer._adjustment = chosen.logit_adjustment * torch.tensor(np.log(shares)).float()
    trainer._targets = targets
    trainer.args = training_arguments(chosen, "out", use_cpu=True)
    return float(trainer.mean_loss({"logits": torch.tensor(logits)}, torch.tensor(labels)))


def test_losses_by_hand():
    logits, labels = [[1.0, 0.0], [0.0, 2.0]], [0, 1]
    logs = torch.log_softmax(torch.tensor(logits), 1)
    plain = -(logs[0, 0] + logs[1, 1]) / 2
    assert losses(recipe("head"), logits, labels) == pytest.approx(float(plain))
    smooth = 0.8 * plain - 0.2 * logs.mean()
    assert losses(recipe("head", label_smoothing=0.2), logits, labels) == pytest.approx(float(smooth))
    adjusted = torch.log_softmax(torch.tensor(logits) + torch.log(torch.tensor([0.75, 0.25])), 1)
    expected = -(adjusted[0, 0] + adjusted[1, 1]) / 2
    assert losses(recipe("head", logit_adjustment=1.0), logits, labels) == pytest.approx(float(expected))
    soft = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    assert losses(recipe("head"), logits, labels, soft) == pytest.approx(float(-(soft * logs).sum() / 2))


@pytest.mark.parametrize("chosen", [recipe("layers", mixup=0.4), recipe("full", mixup=0.4, label_smoothing=0.1)])
def test_mixup_changes_training_and_repeats_by_seed(chosen, toy, encoder, tmp_path):
    first, again = (train(encoder(), toy, tmp_path / name, chosen) for name in ("first", "again"))
    assert first.run["history"] == again.run["history"]
    other = train(encoder(), toy, tmp_path / "plain", dataclasses.replace(chosen, mixup=0.0))
    assert first.run["training_loss"] != other.run["training_loss"]


def test_soft_targets_are_the_votes_where_there_are_any(toy, encoder, tmp_path):
    from datasets import Dataset

    votes = [{"angry": 3, "sad": 1}, None, {"angry": 0, "sad": 0}]
    rows = Dataset.from_dict({"emotion": [1, 1, 0], "voice_votes": votes})
    assert soft_targets(rows, ("angry", "sad")).tolist() == [[0.75, 0.25], [0, 1], [1, 0]]
    with pytest.raises(InputError, match="needs votes of listeners; build the data set"):
        train(encoder(), toy, tmp_path / "out", recipe("head", label_scheme="soft"))
    source = open_dataset(toy, "speaker_independent")
    heard = [{"angry": 1, "sad": 2}] * len(source.parts["train"])
    parts = {**source.parts, "train": source.parts["train"].add_column("voice_votes", heard)}
    for name in ("head", "lora_qkv"):
        chosen = recipe(name, label_scheme="soft")
        result = train(encoder(), dataclasses.replace(source, parts=parts), tmp_path / name, chosen)
        plain = train(encoder(), source, tmp_path / f"{name}_plain", recipe(name))
        assert result.run["training_loss"] != plain.run["training_loss"]


def test_a_recipe_of_ones_own_in_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nlike: lora_qkv\nlora:\n  r: 4\nepochs: 3\n")
    mine = recipe(str(file), epochs=5)
    assert (mine.name, mine.lora["r"], mine.lora["lora_alpha"], mine.epochs) == ("mine", 4, 32, 5)
    file.write_text(
        "name: plain\nsummary: The head.\ntrains: [head]\nstages:\n  - {epochs: 1}\n  - {trains: [encoder, head]}\n"
    )
    assert [it.trains for it in recipe(str(file)).in_stages] == [("head",), ("encoder", "head")]
    for text in ("like: lora_qkv", "name: x\nlike: y", "- 1", "name: x\nrate: 3", "name: [", ""):
        file.write_text(text)
        with pytest.raises(InputError):
            recipe(str(file))
    with pytest.raises(InputError, match=r"absent.yaml' cannot be read: No such file"):
        recipe("absent.yaml")


def test_a_head_that_was_trained_on_the_last_layer_is_not_put_on_others(toy, encoder, tmp_path):
    labels = ("angry", "happy", "neutral", "sad")
    plain, weighted = encoder(labels=labels), encoder(labels=labels, use_weighted_layer_sum=True)
    cases = {"last": (plain, "reused"), "all": (plain, "new"), "own": (weighted, "reused"), "best": (weighted, "new")}
    for name, (base, expected) in cases.items():
        chosen = recipe("head", layers="all" if name == "own" else name)
        assert train(base, toy, tmp_path / name, chosen).run["head"]["head"] == expected, name


def test_specaugment_leaves_short_clips_alive(encoder):
    model = open_encoder(str(encoder()), settings={"mask_time_prob": 0.05})[0]
    values = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heard, untouched = model.eval()(values).logits, 0
        model.train()
        for seed in range(40):
            np.random.seed(seed)
            untouched += torch.equal(model(values).logits, heard)
    # With the default of at least two masks, none would be.
    assert 20 <= untouched < 40


def test_silence_and_level_are_evened_out_wherever_the_model_runs(toy, encoder, tmp_path):
    chosen = recipe("layers", trim_silence_db=40.0, level_db=-26.0)
    result = train(encoder(), toy, tmp_path / "out", chosen)
    kept = json.loads((result.output_dir / "preprocessor_config.json").read_text())
    assert (kept["trim_silence_db"], kept["level_db"]) == (40.0, -26.0)
    assert isinstance(AutoFeatureExtractor.from_pretrained(str(result.output_dir)).trim_silence_db, float)
    draw = np.random.default_rng(0)
    voice, silence = draw.normal(0, 0.1, 12_000).astype(np.float32), np.zeros(9_000, np.float32)
    clips = [{"samples": it} for it in (voice, 0.1 * voice, np.concatenate([silence, voice, silence]), silence)]
    opened = load(str(result.output_dir))
    batch = Collator(opened.feature_extractor, opened.model.config, training=False)(clips)
    lengths = batch["attention_mask"].sum(1).tolist()
    assert lengths[0] == lengths[1] == 12_000
    assert 12_000 <= lengths[2] < 15_000
    assert lengths[3] == 9_000, "nothing but silence stays as it is"
    torch.testing.assert_close(batch["input_values"][0], batch["input_values"][1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "mean_std"}, "could not load the model"),
        ({"pooling": "max"}, "pooling 'max' is unknown"),
        ({"trim_silence_db": -40}, "decibels above 0"),
        ({"level_db": 3}, "below 0"),
    ],
)
def test_what_cannot_be_meant_of_clips_and_pooling_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        recipe("layers", **fields)


@pytest.mark.parametrize("name", ["lora_qkv", "layers"])
def test_where_training_does_harm_the_start_is_the_result(name, toy, encoder, tmp_path):
    chosen = recipe(name, learning_rate=5.0, learning_rate_scale={"head": 1.0}, warmup=0.9)
    result = train(encoder(), toy, tmp_path / "out", chosen, max_steps=12)
    history = result.run["history"]
    assert next(it["step"] for it in history) == 1
    assert result.run["best"]["validation_uar"] == max(it["uar"] for it in history) >= history[0]["uar"]
    assert result.run["best"]["step"] == 1
