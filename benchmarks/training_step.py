"""Training steps on real lengths, against what the stock audio-classification example of transformers does.

    python benchmarks/training_step.py --corpora ../shared/corpora
    python benchmarks/training_step.py --corpora ../shared/corpora --recipes lora_qkv --layers 2 --steps 4 --rounds 1
    python benchmarks/training_step.py --corpora ../shared/corpora --checkpointing

Rival: `Trainer` with its defaults (random sampling, `DataCollatorWithPadding` over the feature extractor, which pads
to the longest clip and normalises, the whole forward pass in every step), clips decoded when they are read. For
`lora_qkv` it has the same adapter by PEFT and `freeze_feature_encoder()`, the example's default, so that no gradient
enters the convolutions; for `full` that default is switched off. Ours: `finetune`. Both start from the same checkpoint,
HuBERT-base from its configuration with random weights unless --encoder names one, and train on the same clips in
batches of the same number, in float32, on all threads. Each contender runs in a process of its own; the two take
turns, and every ratio is of two runs of one round. With --checkpointing, ours also runs with gradient checkpointing.

Measured by a callback that both Trainers get: the steps after the first two, from the beginning of one to the beginning
of the next, the loader's wait included; and the most memory that is held from the first step on (what was freed before
is given back first). Throughput is counted in real audio, without its padding, since a batch of like lengths may hold
long or short clips: divided by the mean length of the clips it is clips a second. The clips are those of an epoch, of
which --steps batches are run, as the first of the recipe's ten epochs; what ours does once before it trains, such as
standardising the features, is listed apart.
"""

import argparse
import json
import os
import tempfile
import time
from functools import partial

import torch
from machine import describe, peak_memory, reset_peak_memory, spread
from runs import in_own_process, real_parts
from transformers import TrainerCallback, trainer

WARM_UP = 2


class Clock(TrainerCallback):
    """Times the steps, takes the most memory from the first of them on, and stops after the last."""

    last = None
    steps = 0

    def __init__(self):
        self.ends, self.used, self.audio = [], [], []
        Clock.last = self

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Listen to how much audio each batch holds."""

        def note(module, positional, named):
            if module.training:
                self.audio[-1] += int(named["attention_mask"].sum()) / 16_000

        model.register_forward_pre_hook(note, with_kwargs=True)

    def on_step_begin(self, args, state, control, **kwargs):
        """Forget what was held before the first step."""
        if not self.ends:
            reset_peak_memory()
        self.audio.append(0.0)

    def on_step_end(self, args, state, control, **kwargs):
        """Note the end of a step, when the loader starts on the next batch."""
        self.ends.append(time.perf_counter())
        self.used.append(sum(os.times()[:2]))
        self.peak = peak_memory()
        if state.global_step == Clock.steps:
            control.should_training_stop = True
            # A run without an evaluation has no best checkpoint.
            control.should_evaluate = control.should_save = args.eval_strategy != "no"

    def rates(self):
        """Seconds of audio a second, and processor seconds a second of audio, over the steps after the warm-up."""
        audio = sum(self.audio[WARM_UP:])
        seconds, used = (values[-1] - values[WARM_UP - 1] for values in (self.ends, self.used))
        return audio / seconds, used / audio


def parts(options):
    """The clips of an epoch, and a few of other speakers to evaluate on."""
    return real_parts(options.corpora, {"train": options.clips, "validation": 16, "test": 16})


def rival(options, recipe):
    from transformers import (
        AutoFeatureExtractor,
        AutoModelForAudioClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from hf_ser.audio.decode import decode
    from hf_ser.models.recipes import RECIPES

    rows, labels = parts(options)
    extractor = AutoFeatureExtractor.from_pretrained(options.encoder)
    torch.manual_seed(0)
    model = AutoModelForAudioClassification.from_pretrained(options.encoder, num_labels=len(labels))
    if recipe == "lora_qkv":
        model.freeze_feature_encoder()
        from peft import LoraConfig, get_peft_model

        settings = {key: list(v) if isinstance(v, tuple) else v for key, v in RECIPES[recipe].lora.items()}
        model = get_peft_model(model, LoraConfig(**settings))

    def transform(batch):
        clips = [decode(audio, extractor.sampling_rate) for audio in batch["audio"]]
        encoded = extractor(clips, sampling_rate=extractor.sampling_rate)
        return {"input_values": encoded["input_values"], "labels": batch["emotion"]}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=options.batch_size,
            num_train_epochs=10,
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            report_to="none",
        )
        Trainer(
            model=model,
            args=arguments,
            train_dataset=rows["train"].with_transform(transform),
            data_collator=DataCollatorWithPadding(extractor),
        ).train()
    return {}


def ours(options, recipe, checkpointing=False):
    from hf_ser import finetune, training_arguments

    rows, _ = parts(options)
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            recipe,
            folder,
            per_device_train_batch_size=options.batch_size,
            disable_tqdm=True,
            gradient_checkpointing=checkpointing,
            torch_compile=options.compile,
        )
        result = finetune(options.encoder, rows, recipe=recipe, output_dir=f"{folder}/run", args=arguments)
    return {"before": {name: took for name, took in result.run["seconds"].items() if name not in ("training", "total")}}


CONTENDERS = {"rival": rival, "ours": ours, "ours, checkpointing": partial(ours, checkpointing=True)}


def measure(options):
    Clock.steps = options.steps
    trainer.DEFAULT_CALLBACKS.append(Clock)
    contender, recipe = options.measure
    facts = CONTENDERS[contender](options, recipe)
    clock = Clock.last
    rate, processor = clock.rates()
    print(json.dumps({"rate": rate, "processor": processor, "peak": clock.peak, **facts}))


def write_encoder(folder, layers):
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    HubertModel(HubertConfig(num_hidden_layers=layers)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)


def compare(options):
    rows, _ = parts(options)
    mean = sum(rows["train"]["duration"]) / len(rows["train"])
    print(
        f"{options.steps - WARM_UP} steps of {options.batch_size} of {options.clips} clips, "
        f"{mean:.2f} s each; {describe()}\n"
    )
    columns = (
        "recipe",
        "contender",
        "clips/s",
        "processor s a clip",
        "peak memory (MiB)",
        "faster by",
        "less processor time",
        "memory over the rival's",
    )
    print(f"| {' | '.join(columns)} |\n| --- | --- |{' ---: |' * (len(columns) - 2)}")
    notes = []
    for recipe in options.recipes:
        found = {name: [] for name in CONTENDERS if options.checkpointing or "checkpointing" not in name}
        for turn in range(options.rounds):
            for contender in list(found) if turn % 2 == 0 else list(found)[::-1]:
                found[contender].append(in_own_process("--encoder", options.encoder, "--measure", contender, recipe))
        for contender, runs in found.items():
            row = [spread([each["rate"] / mean for each in runs])]
            row += [spread([each["processor"] * mean for each in runs]), spread([each["peak"] for each in runs])]
            if contender != "rival":
                pairs = list(zip(runs, found["rival"], strict=True))
                row.append(spread([mine["rate"] / theirs["rate"] for mine, theirs in pairs]))
                row.append(spread([theirs["processor"] / mine["processor"] for mine, theirs in pairs]))
                row.append(spread([mine["peak"] / theirs["peak"] for mine, theirs in pairs]))
            print(f"| {recipe} | {contender} | {' | '.join((*row, '', '', '')[:6])} |", flush=True)
        notes.append(f"{recipe}, seconds outside the steps, once a run: {found['ours'][-1]['before']}")
    print("\n" + "\n".join(notes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", required=True, help="folder that holds the corpora")
    parser.add_argument("--encoder", help="folder of an encoder (default: HuBERT-base with random weights)")
    parser.add_argument("--layers", type=int, default=12, help="transformer layers of that HuBERT-base")
    parser.add_argument("--recipes", nargs="+", default=["lora_qkv", "full"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--clips", type=int, default=192, help="training clips of an epoch")
    parser.add_argument("--steps", type=int, default=6, help=f"the first {WARM_UP} are not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="ours also with gradient checkpointing")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.encoder is None:
            options.encoder = f"{folder}/encoder"
            write_encoder(options.encoder, options.layers)
        compare(options)


if __name__ == "__main__":
    main()
