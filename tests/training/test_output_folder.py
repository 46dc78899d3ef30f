import json
import multiprocessing
import os
import signal
import time

import pytest

from hf_ser.errors import InputError
from hf_ser.training.folder import OutputFolder


def test_a_folder_with_files_is_in_use(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="in use"):
        OutputFolder(tmp_path)
    with pytest.raises(InputError, match="not overwritten"):
        OutputFolder(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_finished_run_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="finished run"):
        OutputFolder(tmp_path)
    with pytest.raises(InputError, match="nothing to resume"):
        OutputFolder(tmp_path, resume=True)
    with OutputFolder(tmp_path, overwrite=True).claimed({}):
        assert not (tmp_path / "run.json").exists()


def test_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        OutputFolder(tmp_path / "absent", resume=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        OutputFolder(tmp_path / "out")


def test_an_error_before_the_first_checkpoint_leaves_nothing(tmp_path):
    folder = OutputFolder(tmp_path / "a" / "b")
    with pytest.raises(InputError, match="boom"), folder.claimed({"seed": 1}):
        raise InputError("boom")
    assert list(tmp_path.iterdir()) == []


def save_checkpoint(folder):
    checkpoint = folder.checkpoints / "checkpoint-7"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text("{}")


def fail_while_writing(folder):
    with folder.claimed({}):
        save_checkpoint(folder)
        with folder.results(keep_checkpoints=False) as staged:
            (staged / "metrics.json").write_text("{}")
            raise OSError("disk full")


def unfinished(path, settings):
    folder = OutputFolder(path)
    with folder.claimed(settings):
        save_checkpoint(folder)


def test_a_run_is_resumed_as_it_was_or_not_at_all(tmp_path):
    unfinished(tmp_path / "out", {"seed": 1, "recipe": "full"})
    with pytest.raises(InputError, match=r"unfinished run; pass resume"):
        OutputFolder(tmp_path / "out")
    changed = OutputFolder(tmp_path / "out", resume=True)
    with pytest.raises(InputError, match="had seed = 1, now it is 2"), changed.claimed({"seed": 2, "recipe": "full"}):
        pass
    with OutputFolder(tmp_path / "out", resume=True).claimed({"seed": 1, "recipe": "full"}):
        pass


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    unfinished(tmp_path / "out", {})
    folder = OutputFolder(tmp_path / "out", resume=True)
    cut_off = folder.checkpoints / "checkpoint-14"
    cut_off.mkdir()
    (cut_off / "trainer_state.json").write_text('{"epoch": 2.0, "best')
    (folder.checkpoints / "checkpoint-21").mkdir()
    assert folder.last_checkpoint().name == "checkpoint-7"


def hold(path, ready):
    with OutputFolder(path).claimed({}):
        ready.set()
        time.sleep(60)


def test_two_runs_do_not_share_a_folder_and_a_killed_one_frees_it(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "out", ready))
    process.start()
    assert ready.wait(30)
    with (
        pytest.raises(InputError, match="in use by another run"),
        OutputFolder(tmp_path / "out", overwrite=True).claimed({}),
    ):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with OutputFolder(tmp_path / "out", overwrite=True).claimed({}):
        pass


def test_results_appear_together_and_a_failure_shows_none(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    with pytest.raises(OSError, match="disk full"):
        fail_while_writing(folder)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["checkpoints"]
    resumed = OutputFolder(tmp_path / "out", resume=True)
    with resumed.claimed({}), resumed.results(keep_checkpoints=False) as staged:
        for name in ("run.json", "metrics.json"):
            (staged / name).write_text("{}")
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["metrics.json", "run.json"]
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == {}


def test_a_run_is_not_resumed_on_machines_that_do_not_see_its_folder(tmp_path, monkeypatch):
    from hf_ser import processes

    with OutputFolder(tmp_path).claimed({}):
        pass
    monkeypatch.setattr(processes, "count", lambda: 2)
    # The second process answers whether it found the first one's mark: it did not.
    monkeypatch.setattr(processes, "gather", lambda value: [value, False])
    with (
        pytest.raises(InputError, match="not seen by process 1 of 2"),
        OutputFolder(tmp_path, resume=True).claimed({}),
    ):
        pass
