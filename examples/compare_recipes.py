"""Fine-tune one encoder by the paper's three recipes and print the results as the paper's Table 3.

python examples/compare_recipes.py --model superb/hubert-large-superb-er --dataset corpora --output-dir runs
"""

import argparse
from pathlib import Path

from hf_ser import finetune, training_arguments
from hf_ser.evaluation.report import render_table

EPOCHS = {"full": 10, "lora_qkv": 10, "lora_classifier": 30}
SEEDS = (42,)  # report at least three: (42, 43, 44)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", default="superb/hubert-large-superb-er")
parser.add_argument("--dataset", required=True, help="folder with the audio of the corpora, or a Hub id")
parser.add_argument("--output-dir", required=True, type=Path)
parser.add_argument("--max-steps", type=int, default=-1, help="stop early, to try it out")
options = parser.parse_args()

results = {}
for name, epochs in EPOCHS.items():
    for seed in SEEDS:
        folder = options.output_dir / f"{name}-{seed}"
        arguments = training_arguments(name, folder, num_train_epochs=epochs, max_steps=options.max_steps, seed=seed)
        results[f"{name} (seed {seed})"] = finetune(
            options.model, options.dataset, recipe=name, args=arguments, output_dir=folder
        ).metrics
print(render_table(results))
