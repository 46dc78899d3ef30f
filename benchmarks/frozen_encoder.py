"""A head on a frozen encoder, 50 epochs: `lora_classifier` against the stock example with the same frozen encoder.

    python benchmarks/frozen_encoder.py --corpora ../shared/corpora --model ../shared/encoders/hubert-tiny

Rival: `Trainer` as the audio-classification example sets it up, with the encoder frozen as well: clips decoded when
they are read, random batches padded to their longest clip, the whole forward pass in every step and in the evaluation
after every epoch, a checkpoint after every epoch, the best one by validation accuracy loaded in the end. Its
convolutions are frozen by `freeze_feature_encoder`, without which it would also pass backwards through the encoder; its
learning rate suits a head (--learning-rate). Ours: `finetune(recipe="lora_classifier")` with nothing cached before, and
once more with the frozen states that the first run kept. Same checkpoint, clips, batch size and epochs (no early
stopping), float32.

Each contender runs in a process of its own, the two take turns. Seconds are wall time from opening the checkpoint to
the test metrics; ours also writes the finished run with its card.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe, peak_memory, spread
from runs import in_own_process, real_parts


def scores_of(predicted, labels):
    """Accuracy and unweighted average recall over the labels that occur."""
    right = np.asarray(predicted) == np.asarray(labels)
    recalls = [right[np.asarray(labels) == label].mean() for label in np.unique(labels)]
    return {"accuracy": float(right.mean()), "uar": float(np.mean(recalls))}


def rival(options, rows, labels, folder):
    import torch
    from transformers import (
        AutoFeatureExtractor,
        AutoModelForAudioClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from hf_ser.audio.decode import decode

    extractor = AutoFeatureExtractor.from_pretrained(options.model)
    torch.manual_seed(0)
    model = AutoModelForAudioClassification.from_pretrained(options.model, num_labels=len(labels))
    model.freeze_feature_encoder()
    model.freeze_base_model()

    def transform(batch):
        clips = [decode(audio, extractor.sampling_rate) for audio in batch["audio"]]
        encoded = extractor(clips, sampling_rate=extractor.sampling_rate)
        return {"input_values": encoded["input_values"], "labels": batch["emotion"]}

    def metrics(prediction):
        return {"accuracy": float((prediction.predictions.argmax(axis=-1) == prediction.label_ids).mean())}

    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_steps=10,
        disable_tqdm=True,
        remove_unused_columns=False,
        report_to="none",
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows["train"].with_transform(transform),
        eval_dataset=rows["validation"].with_transform(transform),
        data_collator=DataCollatorWithPadding(extractor),
        compute_metrics=metrics,
    )
    trainer.train()
    answers = trainer.predict(rows["test"].with_transform(transform))
    return {"steps": trainer.state.global_step, **scores_of(answers.predictions.argmax(axis=-1), answers.label_ids)}


def ours(options, rows, labels, folder):
    from hf_ser import finetune, recipe, training_arguments

    chosen = recipe("lora_classifier", patience=None)
    arguments = training_arguments(
        chosen,
        folder,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        disable_tqdm=True,
    )
    result = finetune(options.model, rows, recipe=chosen, args=arguments, output_dir=f"{folder}/run")
    report = result.report
    return {
        "steps": result.run["steps"],
        "accuracy": report["accuracy"],
        "uar": report["uar"],
        "of which": result.run["seconds"],
    }


def measure(options):
    counts = {"train": options.clips, "validation": options.clips // 8, "test": options.test_clips}
    rows, labels = real_parts(options.corpora, counts)
    with tempfile.TemporaryDirectory() as folder:
        begin, used = time.perf_counter(), time.process_time()
        facts = (rival if options.measure == "rival" else ours)(options, rows, labels, folder)
        seconds, processor = time.perf_counter() - begin, time.process_time() - used
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak_memory(), **facts}))


def compare(options):
    print(
        f"{Path(options.model).name}, {options.clips} training, {options.clips // 8} validation and "
        f"{options.test_clips} test clips, {options.epochs} epochs in batches of {options.batch_size}; {describe()}\n",
        flush=True,
    )
    found = {"rival": [], "ours": [], "ours, cached before": []}
    for turn in range(options.rounds):
        for contender in ("rival", "ours") if turn % 2 == 0 else ("ours", "rival"):
            with tempfile.TemporaryDirectory() as home:
                os.environ["HF_HOME"] = home
                found[contender].append(in_own_process("--measure", contender))
                if contender == "ours":
                    found["ours, cached before"].append(in_own_process("--measure", contender))
    print("| contender | seconds | processor seconds | peak memory (MiB) | accuracy % | UAR % | less time by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, runs in found.items():
        row = [spread([run[key] for run in runs]) for key in ("seconds", "processor", "peak")]
        row += [spread([100 * run[key] for run in runs]) for key in ("accuracy", "uar")]
        ratios = [theirs["seconds"] / mine["seconds"] for theirs, mine in zip(found["rival"], runs, strict=True)]
        print(f"| {name} | {' | '.join(row)} | {'' if name == 'rival' else spread(ratios)} |")
    print(f"\nsteps: rival {found['rival'][-1]['steps']}, ours {found['ours'][-1]['steps']}")
    for name in list(found)[1:]:
        print(f"{name}, seconds by part: {found[name][-1]['of which']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", required=True, help="folder that holds the corpora")
    parser.add_argument("--model", required=True, help="folder of an encoder")
    parser.add_argument("--clips", type=int, default=400, help="training clips; an eighth as many validate")
    parser.add_argument("--test-clips", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="of the rival")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    measure(options) if options.measure else compare(options)


if __name__ == "__main__":
    main()
