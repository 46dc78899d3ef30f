"""A data set is whole or absent, whatever happens while it is written."""

import os
import shutil
import signal
import subprocess
import sys

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
    write = build.write_files
    build.write_files = lambda *arguments: (write(*arguments), stop())
if step == "moving":
    def move_half(folder, target):
        target.rename(folder.with_name("earlier"))
        stop()
    staging.move = move_half
build.build_dataset(out=out, savee=savee, overwrite=True)
"""


def kill_a_build(step, out, savee):
    """Build in another process, and kill it at a step."""
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
    with pytest.raises(InputError, match=r"File exists|Not a directory") as caught:
        build_dataset(out=savee / "DC/d01.wav" / "out", savee=savee)
    assert "\n" not in str(caught.value)
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


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX systems can")
@pytest.mark.parametrize("limit", [1_000, 4_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(savee, tmp_path, limit):
    shutil.make_archive(str(tmp_path / "savee"), "zip", savee)
    code = f"""
import resource, sys
from hf_ser.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.exit(main(["build", *sys.argv[1:]]))
"""
    for given in (savee, tmp_path / "savee.zip"):
        command = [sys.executable, "-c", code, "--savee", str(given), "--out", str(tmp_path / "full/out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
        assert "File too large" in done.stderr
        assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_what_a_killed_build_left_is_cleared_away_by_the_next(savee, tmp_path, caplog):
    out = tmp_path / "out"
    steps = kill_a_build("written", out, savee)
    next(steps)
    with pytest.raises(InputError, match="is being built by another process; wait for it"):
        build_dataset(out=out, savee=savee)
    # Another target next to it is not affected.
    with staging(tmp_path / "out_2", overwrite=False) as other:
        assert other.is_dir()
    next(steps)
    assert not out.exists()
    assert hidden(tmp_path) == [".out.building", ".out.building.lock"]
    assert build_dataset(out=out, savee=savee).report["clips"] == 4
    assert hidden(tmp_path) == []
    assert f"removed {tmp_path / '.out.building'}" in caplog.text


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
