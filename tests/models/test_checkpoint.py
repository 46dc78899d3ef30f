import json
import shutil
import subprocess
import sys

import pytest
import torch

from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.models.checkpoint import load_weights, merge, open_model, save_model
from hf_ser.models.encoders import open_encoder, open_feature_extractor
from hf_ser.models.head import FeatureStatistics, attach, fold, statistics_of
from hf_ser.models.recipes import RECIPES, adapt

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


def trained(folder, name, **statistics):
    """A model as it stands after training: every trainable weight moved, a head of its own."""
    torch.manual_seed(17)
    model = adapt(open_encoder(str(folder), seed=9)[0], RECIPES[name]).eval()
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
    for name in RECIPES
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
        fold(model)
        torch.save(example(model), f"{folder}.input")
        torch.save(logits_of(model, example(model)), f"{folder}.logits")
        folders.append(str(folder))
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, " ".join(EMOTIONS), *folders]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    for case, line in zip(CASES, answer, strict=False):
        difference, labels = line.split()
        assert float(difference) < 1e-6, case
        assert labels == "True", case


@pytest.mark.parametrize("name", ["lora_qkv", "lora_classifier"])
def test_an_adapter_loads_in_plain_peft(name, encoder, tmp_path):
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForAudioClassification

    model = trained(encoder(), name)
    save_model(model, tmp_path / "a", open_feature_extractor(str(encoder())))
    torch.manual_seed(99)
    base = AutoModelForAudioClassification.from_pretrained(
        str(encoder()), config=AutoConfig.from_pretrained(str(tmp_path / "a"))
    )
    plain = PeftModel.from_pretrained(base, str(tmp_path / "a"))
    values = example(model)
    assert (logits_of(plain, values) - logits_of(model, values)).abs().max() < 1e-5
    assert tuple(plain.config.id2label.values()) == EMOTIONS


@pytest.mark.parametrize("name", ["lora_qkv", "lora_classifier"])
def test_a_merged_adapter_is_a_plain_checkpoint(name, encoder, tmp_path):
    from transformers import AutoModelForAudioClassification

    model = trained(encoder(), name)
    values = example(model)
    fold(model)
    expected = logits_of(model, values)
    merged = merge(model)
    merged.save_pretrained(str(tmp_path))
    plain = AutoModelForAudioClassification.from_pretrained(str(tmp_path))
    assert not any("lora" in key or "base_layer" in key or "modules_to_save" in key for key in plain.state_dict())
    assert (logits_of(plain, values) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_resumable_checkpoint_gives_back_the_very_bits(name, encoder, tmp_path):
    model = trained(encoder(), name)
    save_model(model, tmp_path, open_feature_extractor(str(encoder())), resumable=True)
    other = adapt(open_encoder(str(encoder()), seed=1)[0], RECIPES[name])
    attach(other, FeatureStatistics(torch.zeros(32), torch.ones(32)))
    load_weights(other, tmp_path)
    for key, value in model.state_dict().items():
        if "original_module" not in key:
            assert torch.equal(value, other.state_dict()[key]), key
    assert torch.equal(statistics_of(other).mean, statistics_of(model).mean)
    assert torch.equal(logits_of(other, example(model)), logits_of(model, example(model)))


def test_nothing_pickled_is_written(encoder, tmp_path):
    for name in RECIPES:
        save_model(trained(encoder(), name), tmp_path / name, open_feature_extractor(str(encoder())), resumable=True)
    suffixes = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert suffixes == {".json", ".safetensors"}


def test_what_is_no_classifier_is_refused(encoder, tmp_path):
    with pytest.raises(InputError, match=r"without a trained head \(HubertModel\)"):
        open_model(encoder())
    with pytest.raises(InputError, match="no such folder"):
        open_model(tmp_path / "absent")
    with pytest.raises(InputError, match="not a checkpoint of this library"):
        load_weights(adapt(open_encoder(str(encoder()))[0], RECIPES["full"]), tmp_path)


def test_an_adapter_whose_base_is_gone_says_so(encoder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(encoder(), base)
    save_model(trained(base, "lora_qkv"), tmp_path / "a", open_feature_extractor(str(base)))
    shutil.rmtree(base)
    with pytest.raises(InputError, match="base"):
        open_model(tmp_path / "a")


def test_an_adapter_that_does_not_fit_its_base_says_so(encoder, tmp_path):
    save_model(trained(encoder(), "lora_qkv"), tmp_path, open_feature_extractor(str(encoder())))
    file = tmp_path / "adapter_config.json"
    settings = json.loads(file.read_text())
    settings["base_model_name_or_path"] = str(encoder(hidden_size=64))
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match="does not fit its base"):
        open_model(tmp_path)
