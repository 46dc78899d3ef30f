"""Several processes of one run, started by `torchrun` as users start them."""

import json
import os
import subprocess
import sys
import time

import pytest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

WORK = """
import json, os, sys, time
import torch
from hf_ser import processes
from hf_ser.errors import InputError

assert (processes.count(), processes.rank()) == (2, int(os.environ["RANK"]))  # Before any group is up.
first, answer = processes.is_first(), {}
with processes.together():
    answer["gathered"] = processes.gather({"rank": processes.rank()})
    for items in (0, 1, 2, 7):
        rows = torch.arange(items)[list(processes.share(items))]
        assert processes.gather_rows(rows[:, None] + torch.zeros(1, 3, dtype=torch.int64), items)[:, 2].tolist() == [
            *range(items)]
        assert processes.gather_rows(rows.to(torch.int16), items).tolist() == [*range(items)]
file, begin = sys.argv[1], time.monotonic()
with processes.first_of_node_first():
    if not os.path.exists(file):
        time.sleep(0.5)
        open(file, "a").write(f"made by {processes.rank()}")
answer["made"] = open(file).read()
errors = []
for failing in (0, 1):
    try:
        with processes.together():
            with processes.together():
                if processes.rank() == failing:
                    raise InputError(f"clip {failing} is broken; remove it")
                processes.gather("never answered by the other")
    except InputError as error:
        errors.append([type(error).__name__, str(error)])
answer["errors"] = processes.gather(errors)
# Both fail: one speaks.
try:
    with processes.together():
        raise InputError("the same for all")
except InputError as error:
    answer["speakers"] = processes.gather(type(error).__name__)
with processes.together():
    pass  # What failed before is over.
if first:
    print(json.dumps(answer))
"""

DIES = """
import os, signal, sys, time
from hf_ser import processes
processes.SILENCE_SECONDS, processes.HEARTBEAT_SECONDS = 2.0, 0.2
with processes.together():
    if processes.rank() == 1:
        os.kill(os.getpid(), signal.SIGSTOP if sys.argv[1] == "hangs" else signal.SIGKILL)
    try:
        processes.gather("and the other?")
    finally:
        print("put in order", flush=True)
"""


def torchrun(code, tmp_path, *words, timeout=120):
    (tmp_path / "work.py").write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, str(tmp_path / "work.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=timeout)


@pytest.mark.slow
def test_two_processes_share_work_and_end_together(tmp_path):
    done = torchrun(WORK, tmp_path, tmp_path / "cache")
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["gathered"] == [{"rank": 0}, {"rank": 1}]
    assert answer["made"] == "made by 0"
    messages = ["clip 0 is broken; remove it", "clip 1 is broken; remove it"]
    assert answer["errors"] == [
        [["InputError", messages[0]], ["FailedElsewhere", messages[1]]],
        [["FailedElsewhere", messages[0]], ["InputError", messages[1]]],
    ]
    assert sorted(answer["speakers"]) == ["FailedElsewhere", "InputError"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_a_process_that_dies_ends_the_others(how, tmp_path):
    begin = time.monotonic()
    done = torchrun(DIES, tmp_path, how)
    assert done.returncode != 0
    assert time.monotonic() - begin < 60
    assert "put in order" in done.stdout
    if how == "hangs":
        assert "process 1 of 2 has not been heard of" in done.stderr
