"""A data set is whole or absent, whatever happens while it is written."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet
import pytest

import hf_ser.dataset.build as build_module
from dataset_files import contents, noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.staging import staging
from hf_ser.errors import InputError

BUILD_AND_STOP = """
import sys, time
import hf_ser.dataset.build as build, hf_ser.dataset.staging as staging

def stop():
    print("there", flush=True)
    time.sleep(60)

step, out, savee = sys.argv[1:]
if step == "written":
    write = build._write_shards
    build._write_shards = lambda *arguments: (write(*arguments), stop())
if step == "moving":
    move = build.move
    def move_half(folder, target):
        target.rename(folder.with_name("earlier"))
        stop()
    build.move = move_half
build.build_dataset(out=out, savee=savee, overwrite=True)
"""


def kill_a_build(step, out, savee):
    """Build in a process of its own, and kill it at a step."""
    command = [sys.executable, "-c", BUILD_AND_STOP, step, str(out), str(savee)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "there\n"
        yield
        process.send_signal(signal.SIGKILL)
    yield


def hidden(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_output_folder_is_never_overwritten_by_accident(savee, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="contains other files"):
        build_dataset(out=out, savee=savee, overwrite=True)
    (out / "thesis.tex").unlink()
    first = build_dataset(out=out, savee=savee)
    with pytest.raises(InputError, match="contains an earlier build"):
        build_dataset(out=out, savee=savee)
    write_wav(savee / "DC/d01.wav", noise(9))
    second = build_dataset(out=out, savee=savee, overwrite=True)
    assert (first.report["clips"], second.report["clips"]) == (4, 5)
    assert pyarrow.parquet.read_table(out / "data").num_rows == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_build_that_fails_midway_leaves_the_earlier_one(savee, tmp_path, monkeypatch):
    out = tmp_path / "out"
    build_dataset(out=out, savee=savee)
    before = contents(out)
    write_wav(savee / "DC/d01.wav", noise(9))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build_module, "render_data_card", fail)
    with pytest.raises(InputError, match=r"No space left on device; .* was not written"):
        build_dataset(out=out, savee=savee, overwrite=True)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_output_folder_that_cannot_be_made_is_one_line(savee, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="was not written") as caught:
        build_dataset(out=tmp_path / "file" / "out", savee=savee)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_what_a_killed_build_left_is_cleared_away_by_the_next(savee, tmp_path, caplog):
    out = tmp_path / "out"
    steps = kill_a_build("written", out, savee)
    next(steps)
    with pytest.raises(InputError, match="is being built by another process; wait for it"):
        build_dataset(out=out, savee=savee)
    # It is alive: its folder stays, and so does that of another target, whose name begins alike.
    next(steps)
    assert not out.exists()
    left = hidden(tmp_path)
    assert len(left) == 2
    other = tmp_path / ".out.building-b.building-12345678"
    other.mkdir()
    started = time.monotonic()
    assert build_dataset(out=out, savee=savee).report["clips"] == 4
    assert time.monotonic() - started < 30
    assert hidden(tmp_path) == [other.name]
    assert f"removed {tmp_path / left[0]}" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_an_earlier_build_that_a_killed_one_moved_aside_comes_back(savee, tmp_path):
    out = tmp_path / "out"
    build_dataset(out=out, savee=savee)
    before = contents(out)
    steps = kill_a_build("moving", out, savee)
    next(steps)
    next(steps)
    assert not out.exists()
    with pytest.raises(InputError, match="contains an earlier build"):
        build_dataset(out=out, savee=savee)
    assert contents(out) == before
    assert hidden(tmp_path) == []


def test_two_targets_side_by_side_do_not_disturb_each_other(savee, tmp_path):
    with staging(tmp_path / "out", overwrite=False) as first, staging(tmp_path / "out_2", overwrite=False) as second:
        assert first.is_dir()
        assert second.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
