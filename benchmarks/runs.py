"""Clips of real speech for a benchmark, and runs in processes of their own."""

import json
import random
import subprocess
import sys


def real_parts(corpora, counts):
    """So many clips of each part of the default protocol, always the same ones, and the labels."""
    from datasets import DatasetDict

    from hf_ser import open_dataset

    source = open_dataset(corpora, "speaker_independent")
    chosen = {
        part: rows.remove_columns("audio_sha256").select(
            sorted(random.Random(0).sample(range(len(rows)), min(counts[part], len(rows))))
        )
        for part, rows in source.parts.items()
    }
    return DatasetDict(chosen), source.labels


def in_own_process(*arguments):
    """Run the calling script once more with further arguments, and return the JSON of the last line that it prints."""
    command = [sys.executable, *sys.argv, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])
