"""What training costs as the work grows: `finetune` on 1, 2, 4 and 8 times as many real clips, at one batch size.

    python benchmarks/cost_of_training.py --corpora ../shared/corpora --model ../shared/encoders/hubert-tiny

Each run is one epoch in a process of its own with nothing cached before (`lora_classifier`, whose epochs are next to
nothing, makes --epochs of them). A straight line through the seconds and the memory of each recipe gives its intercept,
its slope and how far a run lies from it.
"""

import argparse
import json
import os
import tempfile
import time

from machine import describe, line_through, peak_memory
from runs import in_own_process, real_parts


def measure(options):
    from hf_ser import finetune, recipe, training_arguments

    chosen, clips = recipe(options.measure[0], patience=None), int(options.measure[1])
    rows, _ = real_parts(options.corpora, {"train": clips, "validation": 16, "test": 16})
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            chosen,
            folder,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            num_train_epochs=options.epochs if chosen.name == "lora_classifier" else 1,
            disable_tqdm=True,
        )
        begin, used = time.perf_counter(), time.process_time()
        result = finetune(options.model, rows, recipe=chosen, args=arguments, output_dir=f"{folder}/run")
        seconds, processor = time.perf_counter() - begin, time.process_time() - used
    parts = result.run["seconds"]
    print(json.dumps({"seconds": seconds, "processor": processor, "training": parts["training"],
                      "preparation": parts["preparation"], "peak": peak_memory()}))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", required=True, help="folder that holds the corpora")
    parser.add_argument("--model", required=True, help="folder of an encoder")
    parser.add_argument("--recipes", nargs="+", default=["lora_classifier", "lora_qkv", "full"])
    parser.add_argument("--clips", type=int, default=64, help="the smallest of the four amounts")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=50, help="of lora_classifier")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    print(f"batches of {options.batch_size}; {describe()}\n")
    print("| recipe | clips | seconds | of it training | processor seconds | peak memory (MiB) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    lines = []
    for recipe in options.recipes:
        amounts, runs = [options.clips * factor for factor in (1, 2, 4, 8)], []
        for clips in amounts:
            with tempfile.TemporaryDirectory() as home:
                os.environ["HF_HOME"] = home
                run = in_own_process("--measure", recipe, clips)
            runs.append(run)
            print(f"| {recipe} | {clips} | {run['seconds']:.1f} | {run['training']:.1f} | {run['processor']:.1f} | "
                  f"{run['peak']:.0f} |", flush=True)  # fmt: skip
        for name in ("seconds", "processor", "peak"):
            intercept, slope, distance = line_through(amounts, [run[name] for run in runs])
            unit, small, many = ("MiB", "KiB", 1024) if name == "peak" else ("s", "ms", 1000)
            lines.append(
                f"{recipe}, {name}: {intercept:.2f} {unit} + {many * slope:.1f} {small} a clip, "
                f"at most {100 * distance:.1f} % from the line"
            )
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
