"""The parsers against the real corpora: their manifest, their metadata and their files."""

import csv
import gzip
from collections import Counter

import pytest

from dataset_files import FOUR
from hf_ser.corpora import CORPORA, discover, parse
from hf_ser.labels import canonical_emotion

pytestmark = pytest.mark.shared

SAVEE_LETTERS = {"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise"}


@pytest.fixture
def manifest(shared):
    with gzip.open(shared / "manifest.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_manifest_gives_table_2_and_agrees_with_its_columns(manifest, published_names):
    counts = {name: Counter() for name in FOUR}
    clip_ids = set()
    for row in manifest:
        clip = parse(row["path"])
        assert clip is not None, row["path"]
        counts[clip.corpus][clip.emotion] += 1
        clip_ids.add(clip.clip_id)
        code = row["emotion"]
        expected = SAVEE_LETTERS[code] if row["corpus"] == "savee" else canonical_emotion(code)
        # The manifest cuts the talker out of the name, so it has the one misnamed file under "OA".
        speaker = {"OA": "OAF"}.get(row["speaker"], row["speaker"])
        assert (clip.corpus, clip.emotion, clip.speaker) == (row["corpus"], expected, f"{row['corpus']}_{speaker}")
    assert counts == {name: corpus.counts for name, corpus in FOUR.items()}
    assert len(clip_ids) == len(manifest) == 12_162
    assert {parse(name).clip_id for names in published_names.values() for name in names} == clip_ids


def test_crema_d_demographics(shared):
    with (shared / "crema_d_meta" / "VideoDemographics.csv").open(encoding="utf-8", newline="") as file:
        published = {
            f"crema_d_{row['ActorID']}": (row["Sex"].lower(), int(row["Age"]), row["Race"])
            for row in csv.DictReader(file)
        }
    speakers, races = CORPORA["crema_d"].speakers, CORPORA["crema_d"].races
    found = {name: (speaker.sex, speaker.age, races.get(name, "Unknown")) for name, speaker in speakers.items()}
    assert found == published


def test_crema_d_sentence_names(shared):
    with (shared / "crema_d_meta" / "SentenceFilenames.csv").open(encoding="utf-8", newline="") as file:
        names = [row["Filename"] for row in csv.DictReader(file)]
    assert [parse(f"{name}.wav").clip_id for name in names] == [f"crema_d/{name}" for name in names]


def test_every_original_is_found(shared):
    discovery = discover(shared / "originals")
    assert len(discovery.found) == 44
    assert discovery.ignored == ()
    assert all(len(copies) == 1 for copies in discovery.copies.values())
    numbers = {"crema_d": 15, "ravdess": 11, "tess": 11, "savee": 7}
    assert Counter(clip.corpus for _, clip in discovery.found) == numbers


def test_every_re_encoded_clip_is_found(shared):
    discovery = discover(shared / "corpora")
    assert len(discovery.found) == 10_774
    assert discovery.ignored == ()
    assert all(len(copies) == 1 for copies in discovery.copies.values())


def test_all_of_it_with_the_originals_as_a_second_copy(shared):
    discovery = discover(shared)
    originals = {clip.clip_id for _, clip in discover(shared / "originals").found}
    corpora = {clip.clip_id for _, clip in discover(shared / "corpora").found}
    assert {clip.clip_id for _, clip in discovery.found if clip.corpus in FOUR} == originals | corpora
    assert {clip_id for clip_id, copies in discovery.copies.items() if len(copies) > 1} == originals & corpora
