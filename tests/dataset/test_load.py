"""The built data set read by plain `datasets`, without this library, from a folder and from the Hub."""

import hashlib
import json
import os
import shutil
import subprocess
import venv
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import pytest

from dataset_files import FOUR, assign, published_names
from hf_ser.corpora import parse
from hf_ser.dataset.splits import PROTOCOLS
from hf_ser.labels import EMOTIONS

READ = """
import sys

sys.modules["hf_ser"] = None  # Importing the library that built the data set is an error here.
import hashlib, json
import datasets

name, wanted, decode = sys.argv[1], json.loads(sys.argv[2]), len(sys.argv) > 3
answer = {"version": datasets.__version__, "configs": {}, "all_configs": datasets.get_dataset_config_names(name)}
for config in wanted or answer["all_configs"]:
    loaded = datasets.load_dataset(name, config)
    parts = answer["configs"][config] = {}
    for part, rows in loaded.items():
        raw = rows.cast_column("audio", datasets.Audio(decode=False))[:]
        columns = ("clip_id", "speaker", "emotion", "age", "duration", "sampling_rate", "flags", "provenance")
        digests = [hashlib.sha256(audio["bytes"]).hexdigest() for audio in raw["audio"]]
        parts[part] = [list(row) for row in zip(digests, *(raw[column] for column in columns))]
default = datasets.load_dataset(name)
answer["default"] = {part: len(rows) for part, rows in default.items()}
features = default["train"].features
answer["names"] = features["emotion"].names
answer["columns"] = list(features)
answer["types"] = {column: str(features[column].dtype) for column in features if hasattr(features[column], "dtype")}
answer["audio"] = [type(features["audio"]).__name__, features["audio"].sampling_rate]
answer["votes"] = sorted(features["voice_votes"])
answer["flags"] = str(features["flags"].feature.dtype)
if decode:
    clip = default["train"][0]["audio"]
    answer["decoded"] = [len(clip["array"]), clip["sampling_rate"]]
print(json.dumps(answer))
"""


def check(answer: dict, corpora: Path, configs: list[str]) -> None:
    """Every configuration holds the clips that its protocol says, with their own bytes and features."""
    expected = {}
    for name in published_names():
        path, clip = corpora / name, parse(corpora / name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        seconds = (path.stat().st_size - 44) / 2 / 16_000
        facts = [EMOTIONS.index(clip.emotion), clip.age, seconds, 16_000, [], "unknown"]
        expected[clip.clip_id] = (clip, [digest, clip.clip_id, clip.speaker, *facts])
    assert set(answer["all_configs"]) == {*PROTOCOLS, *FOUR, "all"}
    assert set(answer["configs"]) == set(configs or answer["all_configs"])
    for config, parts in answer["configs"].items():
        wanted: dict[str, list] = {part: [] for part in parts}
        for clip, row in expected.values():
            if config in PROTOCOLS:
                wanted[assign(clip.corpus, clip.speaker, clip.clip_id, config)].append(row)
            elif config in ("all", clip.corpus):
                wanted["train"].append(row)
        for part, rows in parts.items():
            assert sorted(rows, key=lambda row: row[1]) == sorted(wanted[part], key=lambda row: row[1]), (config, part)
    counts = Counter(assign(clip.corpus, clip.speaker, clip.clip_id) for clip, _ in expected.values())
    assert answer["default"] == counts
    assert answer["names"] == list(EMOTIONS)
    assert answer["audio"] == ["Audio", 16_000]
    assert (answer["types"]["age"], answer["types"]["duration"], answer["flags"]) == ("int32", "float64", "string")
    assert answer["votes"] == ["angry", "disgust", "fear", "happy", "neutral", "sad"]
    assert answer["columns"][:4] == ["audio", "emotion", "corpus", "speaker"]


FEW = ["fold_3", "savee"]


@pytest.mark.parametrize("configs", [FEW, pytest.param([], marks=pytest.mark.slow, id="all")])
def test_plain_datasets_reads_the_folder(hub, built, small_corpora, configs):
    answer = json.loads(hub.run(READ, str(built), json.dumps(configs), HF_HUB_OFFLINE="1"))
    assert int(answer["version"].split(".")[0]) >= 4
    check(answer, small_corpora, configs)


@pytest.mark.parametrize("configs", [FEW, pytest.param([], marks=pytest.mark.slow, id="all")])
def test_plain_datasets_reads_the_hub(hub, built, small_corpora, configs):
    name = f"alice/eight_emotions_{len(configs)}"
    hub.create_from_folder(name, built, kind="dataset", private=True)
    answer = json.loads(hub.run(READ, name, json.dumps(configs), token=hub.token("alice", "read")))
    check(answer, small_corpora, configs)


def test_the_builder_gives_the_same_rows_and_notices_new_clips(small_corpora, built, tmp_path):
    from hf_ser.dataset.builder import EightEmotions

    shutil.copytree(small_corpora / "SAVEE", tmp_path / "in")

    def rows():
        builder = EightEmotions(config_name="savee", data_dir=str(tmp_path / "in"), cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        dataset = builder.as_dataset(split="train")
        return dataset.with_format("arrow")[:].to_pylist()

    tables = [pyarrow.parquet.read_table(path) for path in (built / "data").glob("savee-*")]
    found = [row for table in tables for row in table.to_pylist()]
    assert sorted(rows(), key=lambda row: row["clip_id"]) == sorted(found, key=lambda row: row["clip_id"])
    (tmp_path / "in/AudioData/DC/a01.wav").unlink()
    assert len(rows()) == 27


@pytest.fixture(scope="module")
def old_python(tmp_path_factory) -> str:
    """The interpreter of an environment with an old release of `datasets`."""
    if ready := os.environ.get("HF_SER_TEST_DATASETS_3_6"):
        return ready
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "datasets==3.6.0", "huggingface_hub==0.36.2", "librosa"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install datasets 3.6: {done.stderr.strip().splitlines()[-1]}")
    return str(python)


@pytest.mark.slow
def test_datasets_3_6_reads_and_decodes_every_configuration(hub, built, small_corpora, old_python):
    hub.create_from_folder("alice/eight_emotions_old", built, kind="dataset")
    command = [old_python, "-c", READ, "alice/eight_emotions_old", "[]", "decode"]
    done = hub.execute(command, token=hub.token("alice"))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"] == "3.6.0"
    check(answer, small_corpora, [])
    samples, rate = answer["decoded"]
    assert rate == 16_000
    assert 400 <= samples < 450
