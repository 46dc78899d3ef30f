import errno
import json
import multiprocessing
import os
import signal
import time

import pytest

from hf_ser.errors import InputError
from hf_ser.training.folder import OutputFolder, newest_checkpoint


def test_a_folder_with_files_is_in_use(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    for options in ({}, {"overwrite": True}):
        with pytest.raises(InputError, match=r"in use: it holds 'thesis.tex'"):
            OutputFolder(tmp_path, **options)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_what_file_managers_leave_is_ignored(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    with OutputFolder(tmp_path).claimed({}):
        pass


def test_a_finished_run_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="finished run"):
        OutputFolder(tmp_path)
    with pytest.raises(InputError, match="nothing to resume"):
        OutputFolder(tmp_path, resume=True)
    with pytest.raises(InputError, match="exclude each other"):
        OutputFolder(tmp_path, resume=True, overwrite=True)


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    for name in ("run.json", "model.safetensors", "model-00001-of-00002.safetensors", "README.md", "notes.md"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "figures").mkdir()
    (tmp_path / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    with OutputFolder(tmp_path, overwrite=True).claimed({}):
        assert {entry.name for entry in tmp_path.iterdir()} == {"notes.md", "figures", "checkpoints", ".lock"}
        assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["settings.json"]


def test_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match="holds no run, nothing to resume"):
        OutputFolder(tmp_path / "absent", resume=True)
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        OutputFolder(tmp_path / "out")


def fail(folder, error, *, checkpoint=False, settings=None):
    with folder.claimed(settings or {"seed": 1}):
        if checkpoint:
            save_checkpoint(folder)
        raise error


def save_checkpoint(folder, name="checkpoint-7"):
    (folder.checkpoints / name).mkdir()
    (folder.checkpoints / name / "trainer_state.json").write_text("{}")


def test_an_error_before_the_first_checkpoint_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="boom"):
        fail(OutputFolder(tmp_path / "a" / "b"), InputError("boom"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"),
     RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
     ValueError("Error while serializing: I/O error: No space left on device (os error 28)")],
)  # fmt: skip
def test_a_full_disk_is_one_line_and_the_partial_checkpoint_is_removed(tmp_path, error):
    folder = OutputFolder(tmp_path / "out")

    def write():
        with folder.claimed({}):
            save_checkpoint(folder)
            (folder.checkpoints / "checkpoint-14").mkdir()
            (folder.checkpoints / "checkpoint-14" / "model.safetensors").write_bytes(b"half")
            with folder.results() as staged:
                (staged / "model.safetensors").write_bytes(b"half")
                raise error

    with pytest.raises(InputError, match=r"the disk is full; free space, then continue with resume"):
        write()
    assert sorted(entry.name for entry in folder.checkpoints.iterdir()) == ["checkpoint-7", "settings.json"]
    assert [entry.name for entry in folder.path.iterdir()] == ["checkpoints"]


def test_a_run_is_resumed_as_it_was_or_with_more_steps(tmp_path):
    settings = {"recipe": {"name": "full", "lora": {}}, "arguments": {"seed": 1, "max_steps": 40}, "processes": 1}
    with pytest.raises(KeyboardInterrupt):
        fail(OutputFolder(tmp_path / "out"), KeyboardInterrupt(), checkpoint=True, settings=settings)
    with pytest.raises(InputError, match="unfinished run; give resume"):
        OutputFolder(tmp_path / "out")
    changed = {"recipe": {"name": "full", "lora": {}}, "arguments": {"seed": 2, "max_steps": 30}, "processes": 1}
    with pytest.raises(InputError) as caught, OutputFolder(tmp_path / "out", resume=True).claimed(changed):
        pass
    assert "arguments.max_steps was 40 and is now 30; arguments.seed was 1 and is now 2;" in str(caught.value)
    more = {"recipe": {"name": "full", "lora": {}}, "arguments": {"seed": 1, "max_steps": 60}, "processes": 1}
    with OutputFolder(tmp_path / "out", resume=True).claimed(more):
        assert json.loads((tmp_path / "out" / "checkpoints" / "settings.json").read_text()) == more
    other = {**more, "processes": 2}
    with pytest.raises(InputError, match="processes was 1 and is now 2"):
        fail(OutputFolder(tmp_path / "out", resume=True), KeyboardInterrupt(), settings=other)


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    for name, state in (("checkpoint-7", "{}"), ("checkpoint-14", '{"epoch": 2.0, "best'), ("checkpoint-x", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-21").mkdir()
    assert newest_checkpoint(tmp_path).name == "checkpoint-7"


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


@pytest.mark.parametrize("left", [[], [".settings.json.12.partial"]])
def test_a_run_killed_before_its_settings_were_written_is_no_obstacle(tmp_path, left):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".results-abc").mkdir()
    (tmp_path / ".lock").write_text("")
    for name in left:
        (tmp_path / "checkpoints" / name).write_text("{")
    with OutputFolder(tmp_path).claimed({}):
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", "checkpoints"]
        assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["settings.json"]


def test_results_appear_together_and_a_failure_shows_none(tmp_path):
    def write(folder, error=None):
        with folder.claimed({}):
            save_checkpoint(folder)
            with folder.results() as staged:
                for name in ("run.json", "metrics.json"):
                    (staged / name).write_text("{}")
                if error is not None:
                    raise error

    with pytest.raises(ValueError, match="boom"):
        write(OutputFolder(tmp_path / "out"), ValueError("boom"))
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["checkpoints"]
    (tmp_path / "out" / "checkpoints" / "checkpoint-7" / "trainer_state.json").unlink()
    (tmp_path / "out" / "checkpoints" / "checkpoint-7").rmdir()
    write(OutputFolder(tmp_path / "out", resume=True))
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["metrics.json", "run.json"]
