"""Clips of real speech for a benchmark, and runs in processes of their own."""

import functools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path


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


def side_by_side(run, jobs, processes):
    """Call `run` with each job in so many processes; yield each job with what it returned, as they end.

    A job that failed is told on standard error, and yielded with None.
    """
    if processes == 1:
        for job in jobs:
            yield job, _told(run, job)
        return
    # Each process has one core; together they share the device.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {pool.submit(_told, run, job): job for job in jobs}
        for done in as_completed(pending):
            yield pending[done], done.result()


def _told(run, job):
    try:
        return run(job)
    except Exception:
        print(f"{job}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return None


@functools.cache
def opened(dataset, protocol):
    """A data set with a split, opened once in a process."""
    from hf_ser import open_dataset

    return open_dataset(dataset, protocol)


def trained(model, source, chosen, folder, *, seed=42, augmentation=None, **arguments):
    """Train a recipe into a folder unless that is finished there; return the run."""
    from datasets import disable_progress_bars

    from hf_ser import finetune
    from hf_ser.evaluation.compare import read_result
    from hf_ser.training.arguments import training_arguments

    folder = Path(folder)
    if not (folder / "run.json").is_file():
        disable_progress_bars()
        args = training_arguments(chosen, folder, seed=seed, disable_tqdm=True, **arguments)
        unfinished = (folder / "checkpoints").is_dir()
        given = {"output_dir": folder, "recipe": chosen, "args": args, "augmentation": augmentation}
        finetune(model, source, resume=unfinished, **given)
    return read_result(folder)
