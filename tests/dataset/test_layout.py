"""The plan of files and configurations, over the names of all 12,162 clips, and the tables in the files."""

from fnmatch import fnmatchcase

import pytest
from datasets import Features

import hf_ser.dataset.layout as layout_module
from dataset_files import FOUR, noise, write_wav
from hf_ser.corpora import parse
from hf_ser.corpora.originals import originals
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.collection import collect
from hf_ser.dataset.layout import EIGHT_EMOTIONS, feature_list, patterns, plan, schema, tables
from hf_ser.dataset.splits import PROTOCOLS
from hf_ser.errors import InputError


def columns_of(clips):
    return {name: [getattr(clip, name) for clip in clips] for name in ("corpus", "speaker", "clip_id", "emotion")}


@pytest.fixture(scope="module")
def clips():
    return [parse(f"{clip_id}.wav") for clip_id in originals().by_clip_id]


@pytest.fixture(scope="module")
def layout(clips):
    return plan(columns_of(clips))


def test_every_configuration_is_a_list_of_files_and_every_clip_is_in_one_file(clips, layout):
    assert sorted(row for rows in layout.files.values() for row in rows) == list(range(len(clips)))
    assert len(layout.files) == 57
    assert next(iter(layout.configurations)) == "speaker_independent"
    assert set(layout.configurations) == {*PROTOCOLS, *FOUR, "all"}
    assert layout.left_out == {}
    for name, splits in layout.configurations.items():
        for part, paths in splits.items():
            if name in PROTOCOLS:
                assert sorted(row for path in paths for row in layout.files[path]) == layout.rows[name][part]
            globs = patterns(paths, layout.files)
            hits = {path: sum(fnmatchcase(path, glob) for glob in globs) for path in layout.files}
            assert hits == {path: int(path in paths) for path in layout.files}, (name, part)


def test_protocols_that_the_clips_do_not_allow_are_left_out_with_the_reason(clips):
    tess = plan(columns_of([clip for clip in clips if clip.corpus == "tess"]))
    assert list(tess.configurations) == ["all", "paper", "tess"]
    assert set(tess.left_out) == set(PROTOCOLS) - {"paper"}
    assert "validation part empty" in tess.left_out["speaker_independent"]


def test_the_files_do_not_depend_on_the_order_of_the_clips(clips, layout):
    backwards, last = plan(columns_of(clips[::-1])), len(clips) - 1
    assert {path: sorted(last - row for row in rows) for path, rows in backwards.files.items()} == layout.files


def test_the_columns_are_those_that_datasets_makes_of_the_description():
    assert Features.from_arrow_schema(schema(EIGHT_EMOTIONS)) == EIGHT_EMOTIONS
    assert Features._from_yaml_list(feature_list(EIGHT_EMOTIONS)) == EIGHT_EMOTIONS
    # Unknown to releases of `datasets` before 4.0.
    assert b"List" not in schema(EIGHT_EMOTIONS).metadata[b"huggingface"]
    assert {"name": "flags", "sequence": "string"} in feature_list(EIGHT_EMOTIONS)


@pytest.mark.parametrize(
    ("rows", "size", "sizes"), [(100, 1 << 26, [4]), (3, 1 << 26, [3, 1]), (100, 3400, [2, 2]), (100, 10, [1, 1, 1, 1])]
)
def test_a_table_is_bounded_in_rows_and_in_bytes(savee, monkeypatch, rows, size, sizes):
    clips = collect({"savee": savee}).clips
    monkeypatch.setattr(layout_module, "_ROWS_OF_A_TABLE", rows)
    monkeypatch.setattr(layout_module, "_BYTES_OF_A_TABLE", size)
    made = list(tables(clips))
    assert [len(table) for table in made] == sizes
    assert all(table.schema.equals(schema(EIGHT_EMOTIONS), check_metadata=True) for table in made)
    audio = [audio for table in made for audio in table["audio"].to_pylist()]
    named = zip(clips["path"], clips["clip_id"], strict=True)
    assert audio == [{"bytes": path.read_bytes(), "path": f"{clip_id}.wav"} for path, clip_id in named]


@pytest.mark.parametrize("frames", [799, 801])
def test_a_build_does_not_take_a_file_that_changed_since_it_was_inspected(savee, tmp_path, monkeypatch, frames):
    def plan_late(columns):
        write_wav(savee / "DC/a01.wav", noise(1, frames))
        return plan(columns)

    monkeypatch.setattr("hf_ser.dataset.build.plan", plan_late)
    with pytest.raises(InputError, match=r"a01.wav changed while it was read; .*out was not written"):
        build_dataset(out=tmp_path / "out", savee=savee)
    assert not (tmp_path / "out").exists()
