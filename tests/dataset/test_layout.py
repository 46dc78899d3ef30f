"""The plan of files and configurations, over the names of all 12,162 clips."""

from fnmatch import fnmatchcase

import pytest

from hf_ser.corpora import CORPORA, parse
from hf_ser.dataset.layout import plan
from hf_ser.dataset.originals import originals
from hf_ser.dataset.splits import PROTOCOLS, split


def columns_of(clips):
    return {name: [getattr(clip, name) for clip in clips] for name in ("corpus", "speaker", "clip_id", "emotion")}


@pytest.fixture(scope="module")
def clips():
    return [parse(f"{clip_id}.wav") for clip_id in originals().by_clip_id]


@pytest.fixture(scope="module")
def layout(clips):
    return plan(columns_of(clips))


def test_every_clip_lies_in_one_file_and_files_are_few(clips, layout):
    stored = [row for shard in layout.shards for row in shard.rows]
    assert sorted(stored) == list(range(len(clips)))
    assert len({shard.path for shard in layout.shards}) == len(layout.shards) == 57


def test_every_protocol_corpus_and_the_whole_is_a_configuration(layout):
    names = [configuration.name for configuration in layout.configurations]
    assert names[0] == "speaker_independent"
    assert sorted(names) == sorted([*PROTOCOLS, *CORPORA, "all"])
    assert layout.left_out == {}


def test_the_files_of_a_protocol_are_its_parts(clips, layout):
    columns = columns_of(clips)
    for configuration in layout.configurations:
        if configuration.name not in PROTOCOLS:
            continue
        rows = split(columns, configuration.name)
        for part, shards in configuration.splits.items():
            assert sorted(row for shard in shards for row in shard.rows) == rows[part], (configuration.name, part)
            assert layout.rows[configuration.name][part] == rows[part]


def test_each_file_of_a_split_matches_exactly_one_of_its_patterns(layout):
    paths = [shard.path for shard in layout.shards]
    for configuration in layout.configurations:
        for part, shards in configuration.splits.items():
            patterns = configuration.patterns[part]
            hits = {path: sum(fnmatchcase(path, pattern) for pattern in patterns) for path in paths}
            wanted = {shard.path for shard in shards}
            assert hits == {path: int(path in wanted) for path in paths}, (configuration.name, part)


def test_protocols_that_the_clips_do_not_allow_are_left_out_with_the_reason(clips):
    tess = plan(columns_of([clip for clip in clips if clip.corpus == "tess"]))
    assert [configuration.name for configuration in tess.configurations] == ["all", "paper", "tess"]
    assert set(tess.left_out) == set(PROTOCOLS) - {"paper"}
    assert "validation part empty" in tess.left_out["speaker_independent"]


def test_the_files_do_not_depend_on_the_order_of_the_clips(clips, layout):
    backwards = plan(columns_of(clips[::-1]))
    assert [shard.path for shard in backwards.shards] == [shard.path for shard in layout.shards]
    count = len(clips) - 1
    assert [sorted(count - row for row in shard.rows) for shard in backwards.shards] == [
        list(shard.rows) for shard in layout.shards
    ]


def test_the_columns_are_those_that_datasets_makes_of_the_description():
    from datasets import Features

    from hf_ser.dataset.tables import feature_list, features, schema

    assert schema().types == features().arrow_schema.types
    assert schema().names == features().arrow_schema.names
    assert Features.from_arrow_schema(schema()) == features()
    assert Features._from_yaml_list(feature_list()) == features()
    # Unknown to releases of `datasets` before 4.0.
    assert b"List" not in schema().metadata[b"huggingface"]
