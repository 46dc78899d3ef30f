"""Prediction: real clips through `Classifier.predict`, against the pipeline of transformers.

    python benchmarks/prediction.py --corpora ../shared/corpora --model ../shared/encoders/hubert-tiny
    python benchmarks/prediction.py --corpora ../shared/corpora --model hubert-base --clips 100 --rounds 3
    python benchmarks/prediction.py --corpora ../shared/corpora --model hubert-large --clips 40 --rounds 3

The rival is `pipeline("audio-classification")` as it comes, and at its best batch size, searched first on a part of
the clips. Both contenders hold the same model with the same random head, in float32, and read the same files: the
rival cannot (it asks for ffmpeg), so that it is given a generator that decodes each by this library's decoder; with
--arrays both are given samples and nothing is decoded. They take turns, in an order that changes from round to round,
in one process; every ratio is of two runs of one round. The floor is the model's floating-point operations over the
best rate of a float32 matrix product on all threads.

Then `predict` runs on 1, 2, 4 and 8 times as many clips, each time in a process of its own, for its cost against work.
"""

import argparse
import copy
import json
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from machine import describe, line_through, matmul_rate, peak_memory, reset_peak_memory, spread
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, HubertConfig, Wav2Vec2FeatureExtractor
from transformers import pipeline as make_pipeline
from transformers.utils import logging as transformers_logging

from hf_ser.audio.decode import decode
from hf_ser.inference.classifier import Classifier

LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}


def open_model(name, layers):
    """A checkpoint, or HuBERT-base or -large from its configuration with random weights: the work is the same."""
    torch.manual_seed(0)
    shape = {} if layers is None else {"num_hidden_layers": layers}
    if name in ("hubert-base", "hubert-large"):
        config = HubertConfig(**{**(LARGE if name == "hubert-large" else {}), **shape}, num_labels=8)
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=name == "hubert-large")
        model = AutoModelForAudioClassification.from_config(config)
    else:
        model = AutoModelForAudioClassification.from_pretrained(name, num_labels=8, dtype=torch.float32)
        extractor = AutoFeatureExtractor.from_pretrained(name)
    # A fresh head says nearly the same of every clip, and hides differences.
    torch.nn.init.normal_(model.classifier.weight)
    return model.eval(), extractor


def real_clips(corpora, count):
    files = sorted(str(path) for path in Path(corpora).rglob("*.opus"))
    if len(files) < count:
        sys.exit(f"{corpora} holds {len(files)} clips, {count} are asked for")
    return random.Random(0).sample(files, count)


def operations(model, seconds):
    """Floating-point operations of the model on clips of these lengths, each alone."""
    shadow, counts = copy.deepcopy(model).to("meta"), {}
    for length in seconds:
        frames = round(length * 50)
        if frames not in counts:
            counter = FlopCounterMode(display=False)
            with counter, torch.no_grad():
                if model.config.model_type == "whisper":
                    shadow(
                        torch.empty(1, model.config.num_mel_bins, 2 * model.config.max_source_positions, device="meta")
                    )
                else:
                    shadow(torch.empty(1, max(400, 320 * frames + 80), device="meta"))
            counts[frames] = counter.get_total_flops()
    return sum(counts[round(length * 50)] for length in seconds)


def timed(run):
    begin, used = time.perf_counter(), os.times()
    answers = run()
    seconds, after = time.perf_counter() - begin, os.times()
    return answers, seconds, after.user + after.system - used.user - used.system


def compare(options):
    model, extractor = open_model(options.model, options.layers)
    classifier = Classifier(model, extractor)
    rate = int(extractor.sampling_rate)
    pipe = make_pipeline("audio-classification", model=model, feature_extractor=extractor, top_k=8, device="cpu")
    files = real_clips(options.corpora, options.clips)
    arrays = [decode(file, rate) for file in files]
    length = [len(array) / rate for array in arrays]

    def rival(batch_size=None, count=None):
        chosen = {} if batch_size is None else {"batch_size": batch_size}
        read = arrays[:count] if options.arrays else (decode(file, rate) for file in files[:count])
        return list(pipe(read, **chosen))

    def ours():
        return classifier.predict(arrays, sampling_rate=rate) if options.arrays else classifier.predict(files)

    contenders = {"pipeline, default": rival}
    rival(count=2), classifier.predict(files[:2])
    part = min(options.clips, options.search_clips)
    searched = {size: timed(lambda size=size: rival(size, part))[1] for size in options.batch_sizes}
    best = min(searched, key=searched.get)
    contenders[f"pipeline, batch size {best}"] = lambda: rival(best)
    contenders["hf_ser"] = ours
    found = {name: [] for name in contenders}
    answers = {}
    for turn in range(options.rounds):
        names = list(contenders)
        for name in names[turn % 3 :] + names[: turn % 3]:
            answers[name], *costs = timed(contenders[name])
            found[name].append(costs)
    work = operations(model, length)
    speed = matmul_rate()
    floor = work / speed
    what = "samples given" if options.arrays else "decoding counted"
    print(f"{options.model}, {options.clips} clips, {sum(length) / options.clips:.2f} s each, {what}; {describe()}\n")
    searched = ", ".join(f"{size}: {1000 * took / part:.1f}" for size, took in searched.items())
    print(f"pipeline by batch size, ms a clip over {part} clips: {searched}\n")
    print("| contender | seconds | clips/s | processor seconds | times the floor | ours is faster by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    own = [seconds for seconds, _ in found["hf_ser"]]
    for name, costs in found.items():
        seconds = [wall for wall, _ in costs]
        middle = sorted(seconds)[len(seconds) // 2]
        ratios = [theirs / mine for theirs, mine in zip(seconds, own, strict=True)]
        processor = sorted(used for _, used in costs)[len(costs) // 2]
        print(
            f"| {name} | {spread(seconds)} | {options.clips / middle:.1f} | {processor:.1f} | {middle / floor:.2f} | "
            f"{'' if name == 'hf_ser' else spread(ratios)} |"
        )
    print(f"\nfloor: {work / 1e12:.2f} TFLOP at {speed / 1e9:.0f} GFLOP/s = {floor:.2f} s")
    for name in list(contenders)[:2]:
        difference = max(
            abs(mine["scores"][entry["label"]] - entry["score"])
            for mine, theirs in zip(answers["hf_ser"], answers[name], strict=True)
            for entry in theirs
        )
        print(f"largest difference of a probability from '{name}': {difference:.1e}")


def measure(options):
    """One run of its own: what the parent reads from the last line."""
    model, extractor = open_model(options.model, options.layers)
    classifier = Classifier(model, extractor)
    files = real_clips(options.corpora, 8 * options.scaling_clips)
    classifier.predict(files[:2])
    reset_peak_memory()
    before = peak_memory()
    _, seconds, processor = timed(lambda: classifier.predict(files[: options.measure]))
    after = peak_memory()
    print(json.dumps([seconds, processor, after - before, after]))


def scale(options):
    print("\n| clips | seconds | processor seconds | peak memory (MiB) | of it by predicting |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    amounts, times, used, memory = [], [], [], []
    for factor in (1, 2, 4, 8):
        clips = factor * options.scaling_clips
        done = subprocess.run(
            [sys.executable, *sys.argv, "--measure", str(clips)], stdout=subprocess.PIPE, text=True, check=True
        )
        seconds, processor, grown, peak = json.loads(done.stdout.splitlines()[-1])
        print(f"| {clips} | {seconds:.2f} | {processor:.2f} | {peak:.0f} | {grown:.0f} |", flush=True)
        amounts.append(float(clips))
        times.append(seconds)
        used.append(processor)
        memory.append(peak)
    for name, values in (("seconds", times), ("processor seconds", used)):
        intercept, slope, distance = line_through(amounts, values)
        print(
            f"\n{name}: {intercept:.3f} s + {1000 * slope:.2f} ms a clip, at most {100 * distance:.1f} % from the line"
        )
    intercept, slope, _ = line_through(amounts, memory)
    print(f"\npeak memory: {intercept:.0f} MiB + {1024 * slope:.1f} KiB a clip")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", required=True, help="folder of .opus clips, in any depth")
    parser.add_argument("--model", required=True, help="folder of an encoder, or hubert-base, or hubert-large")
    parser.add_argument("--layers", type=int, help="layers of hubert-base or hubert-large, for a shorter run")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--search-clips", type=int, default=100, help="clips of the search for the best batch size")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--arrays", action="store_true", help="give both decoded samples")
    parser.add_argument(
        "--scaling-clips", type=int, default=100, help="the smallest of four amounts; 0 leaves them out"
    )
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if options.measure is not None:
        measure(options)
        return
    compare(options)
    if options.scaling_clips:
        scale(options)


if __name__ == "__main__":
    main()
