"""The four corpora together: counts, speakers, descriptions, and that no name whatever breaks `parse`."""

import csv
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from dataset_files import FOUR, noise, write_wav
from hf_ser.corpora import CORPORA, EIGHT_EMOTIONS_CORPORA, licence_table, parse, register_corpus, strictest
from hf_ser.corpora.originals import originals
from hf_ser.dataset.hygiene import repeated_samples
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS, canonical_emotion

SIX = ("angry", "disgust", "fear", "happy", "sad", "surprise")
TABLE_2 = {
    "ravdess": dict.fromkeys((*SIX, "calm"), 192) | {"neutral": 96},
    "crema_d": {"angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    "tess": dict.fromkeys((*SIX, "neutral"), 400),
    "savee": dict.fromkeys(SIX, 60) | {"neutral": 120},
}


@pytest.mark.parametrize("name", FOUR)
def test_published_names_give_table_2(name, published_names):
    clips = [parse(path) for path in published_names[name]]
    assert None not in clips
    assert Counter(clip.emotion for clip in clips) == TABLE_2[name]
    assert {clip.corpus for clip in clips} == {name}
    assert CORPORA[name].counts == TABLE_2[name]
    assert len({clip.clip_id for clip in clips}) == len(clips)
    assert {clip.speaker for clip in clips} == set(CORPORA[name].speakers)
    assert {clip.sentence for clip in clips} == set(CORPORA[name].sentences)
    for path, clip in zip(published_names[name], clips, strict=True):
        assert clip.clip_id == f"{name}/{PurePosixPath(path).stem}"
        speaker = CORPORA[name].speakers[clip.speaker]
        assert (clip.sex, clip.age) == (speaker.sex, speaker.age)


def test_speakers():
    numbers = {"ravdess": 24, "crema_d": 91, "tess": 2, "savee": 4}
    assert {name: len(corpus.speakers) for name, corpus in FOUR.items()} == numbers
    speakers = {name: facts for corpus in CORPORA.values() for name, facts in corpus.speakers.items()}
    assert {facts.sex for facts in CORPORA["savee"].speakers.values()} == {"male"}
    assert (speakers["ravdess_23"].sex, speakers["ravdess_24"].sex) == ("male", "female")
    # The first, the oldest and the last of CREMA-D, so that a shifted list is noticed.
    chosen = ("crema_d_1001", "crema_d_1034", "crema_d_1091", "tess_OAF", "tess_YAF")
    ages = [("male", 51), ("male", 74), ("female", 29), ("female", 64), ("female", 26)]
    assert [(speakers[name].sex, speakers[name].age) for name in chosen] == ages


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
def test_description(corpus):
    assert set(corpus.counts) <= {*EMOTIONS, "boredom"}
    assert list(corpus.counts) == sorted(corpus.counts)
    assert corpus.citation.startswith("@")
    assert corpus.citation.count("{") == corpus.citation.count("}")
    assert corpus.homepage.startswith("http")
    assert all(corpus.parse(example) for example in corpus.examples)
    assert (corpus.language, corpus.acted) == ("de" if corpus.name == "emo_db" else "en", True)
    assert corpus.short_title.lower().replace("-", "_") == corpus.name


def test_the_known_faults_are_those_of_the_published_files():
    published = list(originals().by_clip_id.values())
    emotions = [parse(f"{original.clip_id}.wav").emotion for original in published]
    repeated = repeated_samples([it.clip_id for it in published], [it.pcm_sha1 for it in published], emotions)
    flag = "identical_samples_two_labels"
    faults = {clip_id: flag for clip_id, flags in repeated.items() if flag in flags}
    faults |= {original.clip_id: "all_zeros" for original in published if original.rms == 0.0}
    assert {clip_id: flag for corpus in CORPORA.values() for clip_id, flag in corpus.faults.items()} == faults


def test_a_registered_corpus_is_parsed_until_another_takes_its_name(outside_corpus):
    assert parse("mycorpus_anna_01_bored.wav").speaker == "mycorpus_anna"
    assert list(CORPORA)[-1] == "mycorpus"
    register_corpus(outside_corpus)
    with pytest.raises(InputError, match="'mycorpus' is registered already"):
        register_corpus(replace(outside_corpus, title="Another"))
    with pytest.raises(InputError, match="'My corpus' is not usable"):
        register_corpus(replace(outside_corpus, name="My corpus"))


def test_the_strictest_licence_and_the_table(outside_corpus):
    assert strictest(CORPORA.values()).name == "savee"
    assert strictest([outside_corpus, CORPORA["crema_d"]]).name == "mycorpus"
    assert strictest([]) is None
    assert [name for name, corpus in CORPORA.items() if not corpus.licence.redistribution] == [
        "tess",
        "savee",
        "emo_db",
    ]
    assert [name for name, corpus in CORPORA.items() if not corpus.licence.non_commercial] == ["crema_d"]
    rows = licence_table([outside_corpus]).splitlines()
    assert rows[2] == "| [MINE](https://example.org) | [CC BY-NC 4.0](https://example.org/terms) | no | yes |"


def test_import_takes_the_standard_library_only():
    program = (
        "import sys; before = set(sys.modules); import hf_ser.corpora; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(finished.stdout.split())
    assert "hf_ser" in imported
    assert imported - set(sys.stdlib_module_names) == {"hf_ser"}


def test_emo_db_is_the_fifth_corpus():
    clip = parse("wav/03a01Fa.wav")
    assert (clip.corpus, clip.clip_id, clip.speaker) == ("emo_db", "emo_db/03a01Fa", "emo_db_03")
    assert (clip.sex, clip.age, clip.emotion, clip.sentence) == ("male", 31, "happy", "a01")
    assert parse("16B10TD.opus").emotion == "sad"
    corpus = CORPORA["emo_db"]
    assert sum(corpus.counts.values()) == 535
    assert corpus.classify("04a01Fa.wav") == "EMO-DB has no speaker 04"
    assert corpus.classify("03a03Fa.wav") == "EMO-DB has no sentence a03"
    assert corpus.classify("03a01Xa.wav") is None
    assert list(CORPORA)[: len(FOUR)] == list(FOUR) == list(EIGHT_EMOTIONS_CORPORA)


@pytest.mark.shared
def test_the_names_of_emo_db_say_what_its_metadata_says(shared):
    rows = list(csv.DictReader((shared / "other/emo_db/metadata.csv").open(encoding="utf-8")))
    assert len(rows) == 221
    for row in rows:
        clip = parse(row["file_name"])
        found = (clip.emotion, clip.speaker[-2:], clip.sex[0], clip.sentence)
        assert found == (canonical_emotion(row["emotion"]), row["speaker"][-2:], row["sex"], row["text_id"])


PACKAGE = """
from hf_ser.corpora import Clip, Corpus, Licence

def read_name(stem, folder):
    if not stem.startswith("outside_"):
        return None
    _, speaker, emotion = stem.split("_")
    return Clip("outside", f"outside/{stem}", f"outside_{speaker}", "unknown", None, emotion, "1", "unspecified")

LICENCE = Licence("mit", "MIT", None, redistribution=True, non_commercial=False)
CORPUS = Corpus(name="outside", title="Outside", read_name=read_name, language="fi", licence=LICENCE, citation="",
                homepage="https://example.org")
"""
READ = """
import logging, sys
logging.basicConfig(format="%(message)s")
import hf_ser.corpora
assert "outside_package" not in sys.modules, "packages are asked when a corpus is looked up"
from hf_ser.dataset.collection import read_folder
rows = read_folder(sys.argv[1])
print(list(hf_ser.corpora.CORPORA)[-1], rows[0]["clip_id"], rows[0]["speaker"])
"""


def test_a_package_brings_a_corpus_by_an_entry_point_and_a_broken_one_is_named(tmp_path):
    (tmp_path / "outside_package.py").write_text(PACKAGE)
    described = tmp_path / "outside-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    points = {"good": "outside_package:CORPUS", "absent": "no_such_module:CORPUS", "text": "outside_package:PLACE"}
    points |= {"function": "outside_package:read_name"}
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (described / "entry_points.txt").write_text(f"[hf_ser.corpora]\n{lines}")
    write_wav(tmp_path / "clips/outside_anna_happy.wav", noise(1))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", READ, str(tmp_path / "clips")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["outside", "outside/outside_anna_happy", "outside_anna"]
    warned = [line for line in done.stderr.splitlines() if line.startswith("package outside: corpus")]
    assert len(warned) == 3
    assert "package outside: corpus 'function' cannot be used (a function is not a corpus" in "".join(warned)
