"""The tables that a data set is written from: bounded, and of the files that were inspected."""

import pytest

import hf_ser.dataset.tables as tables_module
from dataset_files import noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.collection import collect
from hf_ser.dataset.layout import plan
from hf_ser.dataset.tables import schema, tables
from hf_ser.errors import InputError


@pytest.fixture
def clips(savee):
    return collect({"savee": savee}).clips


@pytest.mark.parametrize(
    ("rows", "size", "sizes"),
    [(100, 1 << 26, [4]), (3, 1 << 26, [3, 1]), (100, 3400, [2, 2]), (100, 10, [1, 1, 1, 1])],
)
def test_a_table_is_bounded_in_rows_and_in_bytes(clips, monkeypatch, rows, size, sizes):
    monkeypatch.setattr(tables_module, "_ROWS_OF_A_TABLE", rows)
    monkeypatch.setattr(tables_module, "_BYTES_OF_A_TABLE", size)
    made = list(tables(clips))
    assert [len(table) for table in made] == sizes
    assert all(table.schema.equals(schema(), check_metadata=True) for table in made)
    audio = [audio for table in made for audio in table["audio"].to_pylist()]
    assert audio == [{"bytes": entry.path.read_bytes(), "path": f"{entry.clip.clip_id}.wav"} for entry in clips]


def test_no_clips_make_no_table():
    assert list(tables([])) == []


@pytest.mark.parametrize("frames", [799, 801])
def test_a_file_that_changed_since_it_was_inspected_is_an_error(clips, frames):
    write_wav(clips[2].path, noise(2, frames))
    with pytest.raises(OSError, match=r"a01.wav changed while it was read"):
        list(tables(clips))


def test_a_build_does_not_take_a_file_that_changed(savee, tmp_path, monkeypatch):
    def plan_late(columns):
        write_wav(savee / "DC/a01.wav", noise(1, 9))
        return plan(columns)

    monkeypatch.setattr("hf_ser.dataset.build.plan", plan_late)
    with pytest.raises(InputError, match=r"a01.wav changed while it was read; .*out was not written"):
        build_dataset(out=tmp_path / "out", savee=savee)
    assert not (tmp_path / "out").exists()
