"""The tables that a data set is written from: bounded, and with the files that were inspected."""

import pytest

import hf_ser.dataset.tables as tables_module
from dataset_files import noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.collection import collect
from hf_ser.dataset.layout import plan
from hf_ser.dataset.tables import schema, tables
from hf_ser.errors import InputError


@pytest.mark.parametrize(
    ("rows", "size", "sizes"),
    [(100, 1 << 26, [4]), (3, 1 << 26, [3, 1]), (100, 3400, [2, 2]), (100, 10, [1, 1, 1, 1])],
)
def test_a_table_is_bounded_in_rows_and_in_bytes(savee, monkeypatch, rows, size, sizes):
    clips = collect({"savee": savee}).clips
    monkeypatch.setattr(tables_module, "_ROWS_OF_A_TABLE", rows)
    monkeypatch.setattr(tables_module, "_BYTES_OF_A_TABLE", size)
    made = list(tables(clips))
    assert [len(table) for table in made] == sizes
    assert all(table.schema.equals(schema(), check_metadata=True) for table in made)
    audio = [audio for table in made for audio in table["audio"].to_pylist()]
    assert list(tables([])) == []
    assert audio == [{"bytes": entry.path.read_bytes(), "path": f"{entry.clip.clip_id}.wav"} for entry in clips]


@pytest.mark.parametrize("frames", [799, 801])
def test_a_build_does_not_take_a_file_that_changed_since_it_was_inspected(savee, tmp_path, monkeypatch, frames):
    def plan_late(columns):
        write_wav(savee / "DC/a01.wav", noise(1, frames))
        return plan(columns)

    monkeypatch.setattr("hf_ser.dataset.build.plan", plan_late)
    with pytest.raises(InputError, match=r"a01.wav changed while it was read; .*out was not written"):
        build_dataset(out=tmp_path / "out", savee=savee)
    assert not (tmp_path / "out").exists()
