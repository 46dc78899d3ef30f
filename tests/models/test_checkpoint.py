import json
import shutil
import subprocess
import sys

import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.adapting import adapt
from hf_ser.models.checkpoint import base_digest, merge, open_model, save_model
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.head import FeatureStatistics, attach
from hf_ser.models.recipes import PAPER_RECIPES, recipe

GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}

IN_A_FRESH_PROCESS = """
import sys, torch
from hf_ser.models.checkpoint import open_model
for folder in sys.argv[2:]:
    model, extractor = open_model(folder)
    name = "input_features" if model.config.model_type == "whisper" else "input_values"
    with torch.no_grad():
        logits = model(**{name: torch.load(f"{folder}.input", weights_only=True)}).logits
    expected = torch.load(f"{folder}.logits", weights_only=True)
    print(float((logits - expected).abs().max()), tuple(model.config.id2label.values()) == tuple(sys.argv[1].split()))
"""


def trained(folder, name, **lora):
    """A model as it stands after training: every trainable weight moved, the features standardised."""
    torch.manual_seed(17)
    model = adapt(open_encoder(str(folder), seed=9)[0], recipe(name, lora=lora) if lora else recipe(name)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    hidden = model.config.hidden_size
    attach(model, FeatureStatistics(torch.randn(hidden), 0.1 + torch.rand(hidden)))
    return model


def example(model):
    shape = (2, 80, 3000) if model.config.model_type == "whisper" else (2, 9000)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def logits_of(model, values):
    name = "input_features" if model.config.model_type == "whisper" else "input_values"
    with torch.no_grad():
        return model.eval()(**{name: values}).logits


CASES = [
    (architecture, name, weighted)
    for architecture in ("hubert", "wav2vec2", "wavlm", "whisper")
    for name in PAPER_RECIPES
    for weighted in (False, True)
    if not (architecture == "wavlm" and name == "lora_qkv") and not (weighted and architecture != "hubert")
]


def test_a_reload_in_a_fresh_process_gives_the_same_logits(encoder, tmp_path):
    """The head, the projector too, comes back whatever the reloading process initialises it with."""
    folders = []
    for number, (architecture, name, weighted) in enumerate(CASES):
        base = encoder(architecture, use_weighted_layer_sum=weighted)
        model = trained(base, name)
        folder = tmp_path / f"{number}-{architecture}-{name}"
        save_model(model, folder, open_feature_extractor(str(base)))
        torch.save(example(model), f"{folder}.input")
        torch.save(logits_of(model, example(model)), f"{folder}.logits")
        folders.append(str(folder))
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, " ".join(EMOTIONS), *folders]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    for case, line in zip(CASES, answer, strict=False):
        difference, labels = line.split()
        assert float(difference) < 1e-6, case
        assert labels == "True", case


ADAPTERS = [
    (architecture, name, changes, lora)
    for architecture, changes in (("hubert", {}), ("hubert", GROUP), ("wav2vec2", {}), ("wavlm", {}), ("whisper", {}))
    for name in ("lora_qkv", "lora_classifier")
    for lora in ({}, {"use_dora": True})
    if not (architecture == "wavlm" and name == "lora_qkv") and not (lora and architecture == "whisper")
]


@pytest.mark.parametrize(("architecture", "name", "changes", "lora"), ADAPTERS)
def test_an_adapter_survives_the_standard_calls_of_peft(architecture, name, changes, lora, encoder, tmp_path):
    """Loaded, merged and saved by PEFT, then loaded by transformers: the logits of the model that was trained."""
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForAudioClassification

    folder = encoder(architecture, **changes)
    model = trained(folder, name, **lora)
    values = example(model)
    expected = logits_of(model, values)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    save_model(model, tmp_path / "a", open_feature_extractor(str(folder)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(logits_of(model, values), expected)
    scale = expected.abs().max()

    torch.manual_seed(99)
    base = AutoModelForAudioClassification.from_pretrained(
        str(folder), config=AutoConfig.from_pretrained(str(tmp_path / "a")), ignore_mismatched_sizes=True
    )
    plain = PeftModel.from_pretrained(base, str(tmp_path / "a"))
    assert (logits_of(plain, values) - expected).abs().max() < 1e-5 * scale
    assert tuple(plain.config.id2label.values()) == EMOTIONS
    plain.merge_and_unload().save_pretrained(str(tmp_path / "merged"))
    merged = AutoModelForAudioClassification.from_pretrained(str(tmp_path / "merged"))
    assert not any("lora" in key or "base_layer" in key or "modules_to_save" in key for key in merged.state_dict())
    assert (logits_of(merged, values) - expected).abs().max() < 1e-5 * scale

    opened, _ = open_model(tmp_path / "a")
    assert (logits_of(opened, values) - expected).abs().max() < 1e-5 * scale
    # What was opened can be saved and merged again.
    save_model(opened, tmp_path / "again", open_feature_extractor(str(folder)))
    assert (logits_of(open_model(tmp_path / "again")[0], values) - expected).abs().max() < 1e-5 * scale
    assert merge(merged) is merged
    # So is a model whose features are still standardised by a hook.
    for whole in (opened, model):
        one = merge(whole)
        save_model(one, tmp_path / "one", open_feature_extractor(str(folder)))
        for plain in (one, open_model(tmp_path / "one")[0]):
            assert (logits_of(plain, values) - expected).abs().max() < 1e-5 * scale


def test_nothing_pickled_is_written(encoder, tmp_path):
    for name in PAPER_RECIPES:
        save_model(trained(encoder(), name), tmp_path / name, open_feature_extractor(str(encoder())))
    suffixes = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert suffixes == {".json", ".safetensors"}


def test_what_is_no_classifier_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match=r"without a trained head \(HubertModel\)"):
        open_model(encoder())
    with pytest.raises(InputError, match="no such folder"):
        open_model(tmp_path / "absent")


def test_an_adapter_of_a_local_base_opens_on_that_base_alone(encoder, tmp_path, monkeypatch):
    """The Hub may have another model under the name of the folder."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **b: pytest.fail("asked the Hub"))
    base, elsewhere = tmp_path / "here" / "alice" / "enc", tmp_path / "elsewhere"
    shutil.copytree(encoder(), base)
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("lora_qkv", "lora_classifier"):
        model, folder = trained("alice/enc", name), tmp_path / name
        save_model(model, folder, open_feature_extractor("alice/enc"), "alice/enc")
        expected = logits_of(model, example(model))
        assert (logits_of(open_model(folder)[0], example(model)) - expected).abs().max() < 1e-5
        monkeypatch.chdir(elsewhere)
        assert "was trained on the local folder 'alice/enc', and there is no such folder here" in refusal(folder)
        assert (logits_of(open_model(folder, base=base)[0], example(model)) - expected).abs().max() < 1e-5
        torch.manual_seed(4)
        other = open_encoder(str(base))[0]
        torch.nn.init.normal_(other.hubert.encoder.layers[0].attention.k_proj.weight)
        other.save_pretrained(str(elsewhere / "alice" / "enc"))
        open_feature_extractor(str(base)).save_pretrained(str(elsewhere / "alice" / "enc"))
        assert "it was trained on other weights" in refusal(folder)
        shutil.rmtree(elsewhere / "alice")
        monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="is a checkpoint, not an adapter; leave its base model out"):
        open_model(encoder(labels=["sad", "angry"]), base=base)


def test_a_base_is_the_same_however_it_is_stored(encoder, tmp_path):
    model = open_encoder(str(encoder()))[0]
    model.save_pretrained(str(tmp_path), max_shard_size="50KB")
    open_feature_extractor(str(encoder())).save_pretrained(str(tmp_path))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert base_digest(open_encoder(str(tmp_path))[0]) == base_digest(model)
    assert base_digest(trained(encoder(), "lora_qkv", use_dora=True)) == base_digest(model)


def test_an_adapter_that_does_not_fit_its_base_says_so(encoder, tmp_path):
    save_model(trained(encoder(), "lora_qkv"), tmp_path, open_feature_extractor(str(encoder())))
    file = tmp_path / "adapter_config.json"
    settings = json.loads(file.read_text())
    settings["base_model_name_or_path"] = str(encoder(hidden_size=64))
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match="does not fit its base"):
        open_model(tmp_path)


def rewritten(folder, source, **changes):
    """A copy of a saved model with some fields of its config.json set."""
    shutil.copytree(source, folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))
    return folder


def refusal(folder):
    with pytest.raises(InputError) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_come_back_as_the_checkpoint_writes_them(encoder):
    """Abbreviated labels of others (superb/hubert-large-superb-er) keep their names, places and rows."""
    folder = encoder(labels=["neu", "hap", "ang", "sad"])
    model, _ = open_model(folder)
    assert list(model.config.id2label.values()) == ["neu", "hap", "ang", "sad"]
    from transformers import AutoModelForAudioClassification

    plain = AutoModelForAudioClassification.from_pretrained(str(folder))
    assert torch.equal(model.classifier.weight, plain.classifier.weight)
    # The same encoder under the same labels takes its head over, whatever the spelling.
    assert open_encoder(folder, ("sad", "neutral", "hap"))[1]["kept_labels"] == ["sad", "neutral", "hap"]


def test_a_checkpoint_that_is_none_of_ours_says_what_it_is(encoder, tmp_path):
    full = tmp_path / "full"
    save_model(trained(encoder(), "full"), full, open_feature_extractor(encoder()))
    speech = rewritten(tmp_path / "speech", full, architectures=["HubertForCTC"])
    assert "is a HubertForCTC, not an audio classifier; fine-tune it" in refusal(speech)
    bare = rewritten(
        tmp_path / "bare", encoder(), architectures=["HubertForSequenceClassification"], id2label={"0": "a"}
    )
    assert "is an encoder without a trained head (no classifier.bias)" in refusal(bare)
    few = rewritten(tmp_path / "few", full, id2label={"0": "a", "1": "b"})
    assert "its weights do not fit its config.json: classifier." in refusal(few)
    gaps = rewritten(tmp_path / "gaps", full, id2label={"0": "a", "2": "b"})
    assert "id2label in its config.json does not count from 0" in refusal(gaps)
    torn = rewritten(tmp_path / "torn", full)
    (torn / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes()[:5000])
    assert f"model '{torn}': its config.json describes 38,608 weights, and its files have 5,000 bytes" in refusal(torn)
    cut = rewritten(tmp_path / "cut", full)
    (cut / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes()[:-5000])
    assert f"model '{cut}': cannot read its weights: " in refusal(cut)
    text = rewritten(tmp_path / "text", full, model_type="bert")
    assert "architecture 'bert' is not supported" in refusal(text)
    silent = rewritten(tmp_path / "silent", full)
    (silent / "preprocessor_config.json").write_text("{]")
    assert f"model '{silent}': cannot read its preprocessor: " in refusal(silent)


def test_an_adapter_that_cannot_be_whole_says_so(encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    whole = tmp_path / "whole"
    save_model(trained(encoder(), "lora_qkv"), whole, open_feature_extractor(encoder()))
    weights = load_file(str(whole / "adapter_model.safetensors"))

    def changed(name, keep, **settings):
        folder = rewritten(tmp_path / name, whole)
        save_file(
            {key: value for key, value in weights.items() if keep(key)}, str(folder / "adapter_model.safetensors")
        )
        values = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**values, **settings}))
        return folder

    headless = changed("headless", lambda key: "projector" not in key and "classifier" not in key, modules_to_save=None)
    assert "holds no projector, and its base model has none" in refusal(headless)
    partial = changed("partial", lambda key: "layers.1." not in key)
    assert "does not fit its base model" in refusal(partial)
    assert "have no counterpart" in refusal(partial)
    strange = changed("strange", lambda key: True, peft_type="TELEPATHY")
    assert "does not fit its base model" in refusal(strange)
    orphan = changed("orphan", lambda key: True, base_model_name_or_path=None)
    assert "names no base model" in refusal(orphan)
    lost = refusal(changed("lost", lambda key: True, base_model_name_or_path="/no/such/base", revision="main"))
    assert f"adapter '{tmp_path / 'lost'}' needs its base model '/no/such/base': there is no such folder" in lost
    of_whisper = refusal(changed("whisper", lambda key: True, base_model_name_or_path=str(encoder("whisper"))))
    assert "the adapter is made for hubert, and this is whisper" in of_whisper
    nested = refusal(changed("nested", lambda key: True, base_model_name_or_path=str(whole)))
    assert "is an adapter, not a checkpoint" in nested
    torn = changed("torn", lambda key: True)
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    assert "adapter_model.safetensors is damaged" in refusal(torn)


def test_an_adapter_without_a_head_uses_the_one_of_its_base(encoder, tmp_path):
    """LoRA alone on a classifier: its base brings every row that the labels need."""
    from peft import LoraConfig, get_peft_model

    base = encoder(labels=list(EMOTIONS))
    model = get_peft_model(open_model(base)[0], LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    save_model(model, tmp_path, open_feature_extractor(base))
    opened, _ = open_model(tmp_path)
    assert torch.equal(logits_of(opened, example(model)), logits_of(model, example(model)))


def test_equal_weights_give_equal_logits_whatever_file_they_lie_in(encoder, tmp_path):
    """A view into a file starts where its header ends, and matrix products round by that place."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    full = tmp_path / "full"
    save_model(trained(encoder(), "full"), full, open_feature_extractor(encoder()))
    other = rewritten(tmp_path / "other", full)
    weights = load_file(str(full / "model.safetensors"))
    with safe_open(str(full / "model.safetensors"), "pt") as file:
        save_file(weights, str(other / "model.safetensors"), {**file.metadata(), "note": "n" * 9})
    one, two = open_model(full)[0], open_model(other)[0]
    for model in (one, two):
        assert not any(tensor.data_ptr() % 64 for tensor in model.parameters())
    assert torch.equal(logits_of(one, example(one)), logits_of(two, example(one)))
