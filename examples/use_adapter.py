"""Classify audio files with a fine-tuned adapter, and with the same adapter in plain peft.

python examples/use_adapter.py out clip.wav another.flac
"""

import argparse
import json
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser import load
from hf_ser.audio.decode import decode

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("adapter", help="folder that finetune wrote")
parser.add_argument("audio", nargs="+")
options = parser.parse_args()

classifier = load(options.adapter)
answers = {file: classifier(file) for file in options.audio}
for file, answer in answers.items():
    print(file, answer["label"], f"{answer['scores'][answer['label']]:.3f}")

# Without this library: labels from config.json, encoder from the base, adapter and head from the folder.
base = json.loads((Path(options.adapter) / "adapter_config.json").read_text())["base_model_name_or_path"]
config = AutoConfig.from_pretrained(options.adapter)
model = PeftModel.from_pretrained(AutoModelForAudioClassification.from_pretrained(base, config=config), options.adapter)
extractor = AutoFeatureExtractor.from_pretrained(options.adapter)
for file in options.audio:
    inputs = extractor(decode(file, 16_000), sampling_rate=16_000, return_attention_mask=True, return_tensors="pt")
    with torch.inference_mode():
        label = config.id2label[int(model.eval()(**inputs).logits.argmax())]
    print(file, label, "(plain peft)")
    assert label == answers[file]["label"]
