"""What the best recipe for a frozen encoder costs on a laptop: HuBERT-base, a first run and a second one.

    python benchmarks/laptop.py --dataset ../shared/corpora --clips 600

The encoder has HuBERT-base's shape and random weights, since its speed does not depend on them. The first run encodes
each clip once; what it takes for the corpora's 12,162 clips is found along the line through the clips it had: seconds
that grow with the clips (decoding, encoding, the start of the head, its training, the evaluation), plus the rest.
The second run finds the clips encoded.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from machine import describe, line_through
from runs import real_parts

ALL = 12_162


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--clips", type=int, default=600)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    os.environ["HF_SER_CACHE"] = str(folder / "cache")
    from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

    from hf_ser import finetune, training_arguments

    HubertForSequenceClassification(HubertConfig()).save_pretrained(folder / "base")
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder / "base")
    print(describe())
    found = {"first": [], "second": []}
    sizes = [options.clips // 3, options.clips]
    for clips in sizes:
        counts = {"train": round(0.62 * clips), "validation": round(0.1 * clips), "test": round(0.28 * clips)}
        parts, _ = real_parts(options.dataset, counts)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        for turn in found:
            begin, out = time.perf_counter(), folder / f"{turn}-{clips}"
            finetune(
                folder / "base",
                parts,
                recipe="layers",
                output_dir=out,
                args=training_arguments("layers", out, use_cpu=True, disable_tqdm=True),
            )
            found[turn].append(time.perf_counter() - begin)
            print(f"{clips} clips, {turn} run: {found[turn][-1]:.1f} s", flush=True)
    for turn, seconds in found.items():
        start, slope, _ = line_through(sizes, seconds)
        print(f"{ALL:,} clips, {turn} run, along the line: {(start + slope * ALL) / 60:.1f} min")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
