"""Fine-tune an encoder by LoRA on its query, key and value projections, with every setting written out.

    python examples/finetune_lora.py --model superb/hubert-large-superb-er --dataset corpora --output-dir out

`--max-steps 20` ends it early, to try it out.
"""

import argparse

from hf_ser import Augmentation, finetune, recipe, training_arguments

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", default="superb/hubert-large-superb-er")
parser.add_argument("--dataset", required=True, help="folder with the audio of the corpora, or a Hub id")
parser.add_argument("--output-dir", required=True)
parser.add_argument("--max-steps", type=int, default=-1, help="stop early, to try it out")
options = parser.parse_args()

lora_qkv = recipe(
    "lora_qkv",
    lora={
        "r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "target_modules": ("q_proj", "k_proj", "v_proj"),
        "modules_to_save": ("projector", "classifier"),
    },
    learning_rate_scale={"head": 0.2},
    head_dropout=0.1,
)
arguments = training_arguments(
    lora_qkv,
    options.output_dir,
    learning_rate=5e-4,
    num_train_epochs=10,
    per_device_train_batch_size=16,
    warmup_steps=0.1,
    weight_decay=0.01,
    max_steps=options.max_steps,
    seed=42,
)
result = finetune(
    options.model,
    options.dataset,
    recipe=lora_qkv,
    protocol="speaker_independent",
    args=arguments,
    augmentation=Augmentation(
        pitch_shift_semitones=(-2.0, 2.0),
        pitch_shift_probability=0.3,
        time_stretch_rates=(0.9, 1.1),
        time_stretch_probability=0.3,
        noise_snr_db=(15.0, 40.0),
        noise_probability=0.3,
    ),
    output_dir=options.output_dir,
)
print(f"UAR on unseen speakers: {100 * result.report['uar']:.1f} %; report and card in {result.output_dir}")
