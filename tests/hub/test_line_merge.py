"""Random edits of a human and of a generator: nothing of either is lost, nothing comes twice."""

import random

from hf_ser.hub.line_merge import merge_lines


def test_random_edits_are_never_lost_and_never_there_twice():
    rng = random.Random(4)
    for _ in range(40):
        base = [f"line {n}" if rng.random() < 0.7 else "" for n in range(rng.randint(0, 30))]
        theirs, generated = list(base), list(base)
        marks = 0
        for push in range(6):
            theirs, marks = _human(rng, theirs, marks)
            ours = _generator(rng, generated, push)
            human = [line for line in theirs if line.startswith("human")]
            merged_lines = merge_lines(ours, theirs, generated)
            assert [line for line in merged_lines if line.startswith("human")] == human
            assert merge_lines(ours, merged_lines, ours) == merged_lines
            new = [line for line in ours if line.startswith(f"push {push}")]
            assert [line for line in merged_lines if line.startswith(f"push {push}")] == new
            stale = {line for line in generated if line} - set(ours)
            assert not stale & set(merged_lines)
            deleted = {line for line in generated if line} - set(theirs)
            assert not deleted & set(merged_lines)
            theirs, generated = merged_lines, ours


def _human(rng: random.Random, lines: list[str], marks: int) -> tuple[list[str], int]:
    lines = list(lines)
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(lines))
        action = rng.choice(("add", "add", "change", "delete"))
        if action == "add" or at == len(lines):
            lines.insert(at, f"human {marks}")
            marks += 1
        elif not lines[at].startswith("human"):
            lines[at : at + 1] = [f"human {marks}"] if action == "change" else []
            marks += 1
    return lines, marks


def _generator(rng: random.Random, lines: list[str], push: int) -> list[str]:
    lines = list(lines)
    for number in range(rng.randint(0, 5)):
        at = rng.randint(0, len(lines))
        if rng.random() < 0.4 or at == len(lines):
            lines.insert(at, f"push {push} {number}")
        else:
            lines[at : at + 1] = [f"push {push} {number}"] if rng.random() < 0.7 else []
    return lines
