"""Building the data set, against the loop that people write: librosa.load at 16 kHz, then Dataset.from_dict.

Run: python benchmarks/build_dataset.py [--corpora FOLDER] [--clips 12162]

Both read the same 16-bit WAV files under the published names, at the published sampling rates and lengths. With
--corpora their audio is speech from that folder (resampled to the published rate; a clip that is not there gets
the audio of another one); without it, noise. Each contender runs in a process of its own, after all files were
read once, so that neither waits for the disk.

The loop keeps 16 kHz samples and labels in memory. The build checks every file, splits and proves, and writes the
bytes as they are to Parquet with card and reports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LOOP = """
import json, resource, sys, time
from pathlib import Path

begin = time.perf_counter()
import librosa
from datasets import Dataset

arrays, rates, labels = [], [], []
for path in sorted(Path(sys.argv[1]).rglob("*.wav")):
    samples, rate = librosa.load(path, sr=16_000)
    arrays.append(samples)
    rates.append(rate)
    labels.append(path.parent.name)
dataset = Dataset.from_dict({"array": arrays, "sampling_rate": rates, "label": labels})
seconds = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([len(dataset), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""

BUILD = """
import json, resource, sys, time

begin = time.perf_counter()
from hf_ser import build_dataset

corpora = {name: f"{sys.argv[1]}/{name}" for name in ("ravdess", "crema_d", "tess", "savee")}
result = build_dataset(out=sys.argv[2], **corpora)
seconds = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([result.report["clips"], seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def write_copies(target: Path, corpora: str | None, clips: int) -> None:
    import numpy as np
    import soundfile
    import soxr

    from hf_ser.corpora import CORPORA, discover
    from hf_ser.dataset.originals import originals

    speech = {clip.clip_id: path for path, clip in discover(corpora).found} if corpora else {}
    by_corpus = {name: [path for clip_id, path in speech.items() if clip_id.startswith(name)] for name in CORPORA}
    generator = np.random.default_rng(0)
    known = list(originals().by_clip_id.values())
    # Every corpus in its share, also where fewer clips are asked for.
    chosen = [known[int(position)] for position in np.linspace(0, len(known) - 1, clips)]
    for number, original in enumerate(chosen):
        corpus, _, name = original.clip_id.partition("/")
        others = by_corpus[corpus]
        path = speech.get(original.clip_id) or (others[number % len(others)] if others else None)
        if path is None:
            samples = generator.normal(0, 0.05, original.frames).astype("float32")
        else:
            samples, rate = soundfile.read(path, dtype="float32")
            samples = soxr.resample(samples, rate, original.sampling_rate)
        file = target / corpus / name.split("_")[0] / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, samples, original.sampling_rate, subtype="PCM_16")


def measure(code: str, *arguments: str) -> tuple[int, float, float, float]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    clips, seconds, processor_seconds, mebibytes = json.loads(done.stdout.splitlines()[-1])
    return clips, seconds, processor_seconds, mebibytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", help="folder of the corpora, for real speech in the files")
    parser.add_argument("--clips", type=int, default=12_162, help="number of files (default: all 12,162 names)")
    parser.add_argument("--files", help="keep the files here for another run; made where it is absent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(options.files or f"{temporary}/files")
        if not files.is_dir():
            write_copies(files, options.corpora, options.clips)
        size = sum(len(path.read_bytes()) for path in files.rglob("*.wav"))
        ours = measure(BUILD, str(files), f"{temporary}/built")
        rival = measure(LOOP, str(files))
        assert ours[0] == rival[0], f"the build has {ours[0]} clips, the loop {rival[0]}"
    clips = ours[0]
    print(f"{clips:,} clips, {size / 2**20:,.0f} MiB of 16-bit WAV, {os.cpu_count()} processors\n")
    print(
        "| contender | seconds | clips/s | processor seconds | peak memory (MiB) |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for name, (_, took, used, held) in (("hf_ser.build_dataset", ours), ("librosa.load, Dataset.from_dict", rival)):
        print(f"| {name} | {took:.1f} | {clips / took:,.0f} | {used:.1f} | {held:,.0f} |")
    faster, cheaper, smaller = (theirs / own for theirs, own in zip(rival[1:], ours[1:], strict=True))
    print(
        f"\nratio: {faster:.1f} times as fast, {cheaper:.1f} times less processor time, {smaller:.1f} times less memory"
    )


if __name__ == "__main__":
    main()
