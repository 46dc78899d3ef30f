"""How long `hf-ser check` takes on a table of many rows, and how much memory: python benchmarks/check_rows.py FOLDER.

FOLDER gets the recordings, a tenth of a second of noise each, of 200 speakers under five labels.
"""

import argparse
import csv
import resource
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
from machine import describe

LABELS = ("angry", "happy", "neutral", "sad", "bored")


def write(folder: Path, rows: int) -> Path:
    """Write the recordings and their table."""
    generator = np.random.default_rng(0)
    table = folder / "many.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow(("path", "label", "speaker"))
        for row in range(rows):
            file = folder / f"clips/{row // 1000}/{row}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(file), "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(16_000)
                sound.writeframes(generator.integers(-8000, 8000, 1600, dtype=np.int16).tobytes())
            lines.writerow((file.relative_to(folder), LABELS[row % 5], f"speaker_{row % 200}"))
    return table


def main() -> None:
    """Check the table in a process of its own, twice: the second time, decoded clips are in the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    table = options.folder / "many.csv"
    if not table.exists():
        table = write(options.folder, options.rows)
    sys.stdout.write(f"{describe()}\n")
    for turn in ("first", "again"):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "hf_ser", "check", str(table)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        verdict = (done.stdout or done.stderr).strip().splitlines()[-1]
        sys.stdout.write(f"{turn}: {options.rows:,} rows, {seconds:.1f} s, {memory:.2f} GiB at most; {verdict}\n")


if __name__ == "__main__":
    main()
