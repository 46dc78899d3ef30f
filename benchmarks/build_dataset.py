"""Building the data set, against the loop that people write: librosa.load at 16 kHz, then Dataset.from_dict.

Run: python benchmarks/build_dataset.py [--corpora FOLDER] [--clips 12162] [--pairs 3]

Both read the same 16-bit WAV files under the published names, at the published sampling rates and lengths. With
--corpora their audio is speech from that folder (resampled to the published rate; a clip that is not there gets
the audio of another one, at a level of its own, since the corpora hold few clips twice); without it, noise. Each
run is a process of its own, after all files were read once, so that none waits for the disk. Runs are paired, and
the order within a pair alternates.

The loop keeps 16 kHz samples and labels in memory. The build checks every file, splits and proves, and writes the
bytes as they are to Parquet with card and reports. The floor is what nobody can leave out: two threads read every
file, take its SHA-256 and write its bytes to a plain file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

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

FLOOR = """
import hashlib, json, os, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

begin = time.perf_counter()
paths = [os.path.join(folder, name) for folder, _, names in os.walk(sys.argv[1]) for name in names]
os.mkdir(sys.argv[2])
def copy(part):
    buffer = memoryview(bytearray(1 << 24))
    with open(f"{sys.argv[2]}/{part}", "wb", buffering=0) as sink:
        for path in paths[part::2]:
            with open(path, "rb", buffering=0) as source:
                content = buffer[:source.readinto(buffer)]
            hashlib.sha256(content).hexdigest()
            sink.write(content)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(copy, range(2)))
seconds = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([len(paths), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


class Run(NamedTuple):
    """What a process reported of itself."""

    clips: int
    seconds: float
    processor_seconds: float
    mebibytes: float


def write_copies(target: Path, corpora: str | None, clips: int) -> None:
    import numpy as np
    import soundfile
    import soxr

    from hf_ser.corpora import CORPORA, discover
    from hf_ser.corpora.originals import originals

    speech = {clip.clip_id: path for path, clip in discover(corpora).found} if corpora else {}
    by_corpus = {name: [path for clip_id, path in speech.items() if clip_id.startswith(name)] for name in CORPORA}
    generator = np.random.default_rng(0)
    known = list(originals().by_clip_id.values())
    # Every corpus in its share, also where fewer clips are asked for.
    chosen = [known[int(position)] for position in np.linspace(0, len(known) - 1, clips)]
    for number, original in enumerate(chosen):
        corpus, _, name = original.clip_id.partition("/")
        others = by_corpus[corpus]
        own = speech.get(original.clip_id)
        path = own or (others[number % len(others)] if others else None)
        if path is None:
            samples = generator.normal(0, 0.05, original.frames).astype("float32")
        else:
            samples, rate = soundfile.read(path, dtype="float32")
            samples = soxr.resample(samples, rate, original.sampling_rate)
            if own is None:
                samples *= 1 - 0.5 * (number + 1) / len(chosen)
        file = target / corpus / name.split("_")[0] / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, samples, original.sampling_rate, subtype="PCM_16")


def measure(code: str, files: Path) -> Run:
    for path in files.rglob("*.wav"):
        path.read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-c", code, str(files), f"{temporary}/out"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", help="folder of the corpora, for real speech in the files")
    parser.add_argument("--clips", type=int, default=12_162, help="number of files (default: all 12,162 names)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each contender (default: 3)")
    parser.add_argument("--files", help="keep the files here for another run; made where it is absent")
    options = parser.parse_args()
    contenders = {
        "`build_dataset`": BUILD,
        "`librosa.load`, `Dataset.from_dict`": LOOP,
        "floor: read, SHA-256, write": FLOOR,
    }
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(options.files or f"{temporary}/files")
        if not files.is_dir():
            write_copies(files, options.corpora, options.clips)
        size = sum(path.stat().st_size for path in files.rglob("*.wav"))
        for pair in range(options.pairs):
            for name in list(contenders)[:: -1 if pair % 2 else 1]:
                runs[name].append(measure(contenders[name], files))
    ours, rival, _ = runs.values()
    clips = {run.clips for of in runs.values() for run in of}
    assert len(clips) == 1, f"the contenders have read {clips} clips"
    print(
        f"{ours[0].clips:,} clips, {size / 2**20:,.0f} MiB of 16-bit WAV, {os.cpu_count()} processors; medians of "
        f"{options.pairs} runs (least to most)\n"
    )
    print("| contender | seconds | clips/s | processor seconds | peak memory (MiB) |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, of in runs.items():
        cells = [
            spread([run.seconds for run in of], 1),
            f"{of[0].clips / statistics.median(run.seconds for run in of):,.0f}",
            spread([run.processor_seconds for run in of], 1),
            f"{max(run.mebibytes for run in of):,.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    pairs = list(zip(ours, rival, strict=True))
    print(
        f"\nratio by pair: {spread([theirs.seconds / own.seconds for own, theirs in pairs], 1)} times as fast, "
        f"{spread([theirs.processor_seconds / own.processor_seconds for own, theirs in pairs], 1)} times less "
        f"processor time, {spread([theirs.mebibytes / own.mebibytes for own, theirs in pairs], 0)} times less memory"
    )


if __name__ == "__main__":
    main()
