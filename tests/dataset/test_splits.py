"""The protocols over the whole of the four corpora, over parts of them and over corpora of one's own."""

import hashlib
import itertools
import json
import random
import subprocess
import sys

import datasets
import numpy as np
import pytest

from dataset_files import FOUR, assign
from hf_ser.corpora import parse
from hf_ser.corpora.originals import originals
from hf_ser.dataset.proof import PAPER_WARNING, prove
from hf_ser.dataset.splits import PARTS, PROTOCOLS, parts_of, split
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

FOLDS = [f"fold_{k}" for k in range(5)]
LEAVE_OUT = [f"leave_out_{corpus}" for corpus in ("ravdess", "crema_d", "tess", "savee")]
COLUMNS = ("corpus", "speaker", "clip_id", "emotion", "sex", "sentence")
# SHA-256 over the part of each of the 12,162 published clips. A change here changes published splits: it needs a new
# version of the data set.
PLACES = {
    "speaker_independent": "445f50d0070e58a2",
    "fold_0": "341baa00f9133af3",
    "fold_1": "38281db834ebe63b",
    "fold_2": "1cfe666c4e662d01",
    "fold_3": "2b5c12a33c6dd7dd",
    "fold_4": "49c2b7ef0b76c845",
    "leave_out_ravdess": "011397547c784c41",
    "leave_out_crema_d": "3baa0cfe703601a6",
    "leave_out_tess": "9a1f616d51088ee1",
    "leave_out_savee": "91e1089e419acbcb",
    "paper": "1158975c55e16aa9",
}


def columns_of(clips):
    return {name: [getattr(clip, name) for clip in clips] for name in COLUMNS}


def placement(columns, protocol):
    """Return the part of every clip by its identifier."""
    parts = split(columns, protocol)
    return {columns["clip_id"][row]: part for part, rows in parts.items() for row in rows}


def own(speakers, labels=lambda speaker: ("angry", "bored"), corpus="mine"):
    """The columns of a corpus of one's own, with a clip of each label by each speaker."""
    rows = [(corpus, name, f"{name}/{label}", label) for name in speakers for label in labels(name)]
    return dict(zip(("corpus", "speaker", "clip_id", "emotion"), map(list, zip(*rows, strict=True)), strict=True))


def take(columns, rows):
    return {name: [values[row] for row in rows] for name, values in columns.items()}


@pytest.fixture(scope="module")
def published():
    """The columns of the 12,162 published clips."""
    found = originals().by_clip_id
    columns = columns_of([parse(f"{clip_id}.wav") for clip_id in found])
    return columns | {"pcm_sha1": [original.pcm_sha1 for original in found.values()]}


@pytest.mark.parametrize("protocol", PLACES)
def test_every_published_clip_stays_where_it_is_in_any_order(published, protocol):
    parts = split(published, protocol)
    assert tuple(parts) == PARTS
    assert sorted(itertools.chain(*parts.values())) == list(range(len(published["clip_id"])))
    assert all(rows == sorted(rows) for rows in parts.values())
    places = placement(published, protocol)
    assert hashlib.sha256(json.dumps(sorted(places.items())).encode()).hexdigest()[:16] == PLACES[protocol]
    rows = random.Random(5).sample(range(len(published["clip_id"])), 12_162)
    assert placement(take(published, rows), protocol) == places


def test_the_protocols_are_those_that_the_documentation_names():
    assert list(PROTOCOLS) == ["speaker_independent", *FOLDS, *LEAVE_OUT, "paper"]
    assert all(PROTOCOLS.values())


def test_the_paper_protocol_shares_all_speakers_and_says_so(published):
    proof = prove(published, split(published, "paper"))
    assert not proof.speaker_disjoint
    assert len(proof.overlaps["train", "test"].speakers) == 24 + 91 + 2 + 4
    assert "share" in PAPER_WARNING
    assert "speaker_independent" in PAPER_WARNING


def test_the_labels_that_a_part_lacks(published):
    lacking = {
        (protocol, part): set(EMOTIONS) - {published["emotion"][row] for row in rows}
        for protocol in PROTOCOLS
        for part, rows in split(published, protocol).items()
    }
    calm = {"calm"}
    assert {place: labels for place, labels in lacking.items() if labels} == {
        ("leave_out_ravdess", "train"): calm,
        ("leave_out_ravdess", "validation"): calm,
        ("leave_out_crema_d", "test"): {"calm", "surprise"},
        ("leave_out_tess", "test"): calm,
        ("leave_out_savee", "test"): calm,
    }
    assert prove(published, split(published, "leave_out_ravdess")).untrained_labels == ("calm",)
    assert prove(published, split(published, "leave_out_tess")).untrained_labels == ()


def speakers_by_sex(protocol, part):
    """Return (female, male) numbers of speakers in a part, by corpus."""
    found = {}
    for name, corpus in FOUR.items():
        chosen = [s for s in corpus.speakers if assign(name, s, f"{name}/x", protocol) == part]
        sexes = [corpus.speakers[s].sex for s in chosen]
        found[name] = (sexes.count("female"), sexes.count("male"))
    return found


def test_the_default_has_the_published_sizes_balanced_by_sex():
    sizes = {
        "train": {"ravdess": (8, 8), "crema_d": (30, 34), "tess": (1, 0), "savee": (0, 2)},
        "validation": {"ravdess": (2, 2), "crema_d": (4, 5), "tess": (0, 0), "savee": (0, 1)},
        "test": {"ravdess": (2, 2), "crema_d": (9, 9), "tess": (1, 0), "savee": (0, 1)},
    }
    assert {part: speakers_by_sex("speaker_independent", part) for part in PARTS} == sizes


def test_the_folds_are_even_in_sex_and_each_validates_on_the_next_without_tess():
    tested = [speakers_by_sex(fold, "test") for fold in FOLDS]
    assert [fold["ravdess"] for fold in tested] == [(3, 2), (3, 2), (2, 2), (2, 3), (2, 3)]
    assert [fold["crema_d"] for fold in tested] == [(9, 9), (9, 9), (9, 10), (8, 10), (8, 10)]
    assert [fold["savee"] for fold in tested] == [(0, 1)] * 4 + [(0, 0)]
    assert [fold["tess"] for fold in tested] == [(1, 0)] * 2 + [(0, 0)] * 3
    for k, fold in enumerate(FOLDS):
        assert speakers_by_sex(fold, "validation") == tested[(k + 1) % 5] | {"tess": (0, 0)}


def test_the_hash_does_not_depend_on_the_process():
    """Python's own `hash` differs between processes; a split may not."""
    columns = own([f"speaker_{n}" for n in range(60)])
    program = (
        "import json, sys; from hf_ser.dataset.splits import parts_of\n"
        "print([parts_of(json.loads(sys.argv[1]), p) for p in ('speaker_independent', 'fold_3', 'paper')])\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules), 'a heavy import'"
    )
    command = [sys.executable, "-c", program, json.dumps(columns)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str([parts_of(columns, p) for p in ("speaker_independent", "fold_3", "paper")])


def test_speakers_of_other_corpora_fall_in_the_shares_of_every_label_and_sex():
    columns = own([f"s{n:03d}" for n in range(200)], lambda name: ("angry", "sad")[: 1 + (int(name[1:]) % 4 == 0)])
    columns["sex"] = [("female", "male")[int(name[1:]) % 3 == 0] for name in columns["speaker"]]
    places = placement(columns, "speaker_independent")
    for column, value in (("emotion", "sad"), ("emotion", "angry"), ("sex", "male"), ("sex", "female")):
        rows = [row for row, it in enumerate(columns[column]) if it == value]
        speakers = {columns["speaker"][row]: places[columns["clip_id"][row]] for row in rows}
        shares = [list(speakers.values()).count(part) / len(speakers) for part in PARTS]
        assert shares == pytest.approx([0.65, 0.15, 0.2], abs=0.02), value
    folds = np.array([parts_of(columns, fold) for fold in FOLDS])
    assert ((folds == "test").sum(axis=0) == 1).all()
    assert ((folds == "validation").sum(axis=0) == 1).all()
    np.testing.assert_allclose((folds == "test").mean(axis=1), 0.2, atol=0.02)


def test_own_splits_do_not_depend_on_the_order_of_rows_on_missing_rows_or_on_another_source(published):
    columns = own([f"s{n:02d}" for n in range(24)], lambda name: ("angry", "bored", "sad"))
    columns["clip_id"] = [f"{clip_id}/{k}" for k, clip_id in enumerate(columns["clip_id"])]
    columns = {name: values * 4 for name, values in columns.items()}
    columns["clip_id"] = [f"{clip_id}/{k}" for k, clip_id in enumerate(columns["clip_id"])]
    everywhere = {protocol: placement(columns, protocol) for protocol in ("speaker_independent", "fold_1")}
    for seed in range(5):
        rows = random.Random(seed).sample(range(len(columns["clip_id"])), 220)
        for protocol, places in everywhere.items():
            found = placement(take(columns, rows), protocol)
            assert found == {clip_id: places[clip_id] for clip_id in found}
    both = {name: [*published[name], *values] for name, values in columns.items()}
    assert everywhere["speaker_independent"].items() <= placement(both, "speaker_independent").items()
    assert set(take(both, split(both, "leave_out_mine")["test"])["corpus"]) == {"mine"}


def test_every_part_has_every_label_of_three_speakers_however_rare():
    rare = {"s1": "awe", "s2": "awe", "s3": "awe", "s4": "envy", "s5": "envy", "s6": "envy", "s3x": "pride"}
    labels = {f"s{n}": {"calm", rare.get(f"s{n}", "calm")} for n in range(12)}
    labels |= {"s3": {"awe", "pride"}, "s7": {"calm", "pride"}, "s8": {"pride"}}
    columns = own(labels, labels.__getitem__)
    for part, rows in split(columns).items():
        assert {columns["emotion"][row] for row in rows} == {"calm", "awe", "envy", "pride"}, part


def test_few_speakers_are_offered_leaving_one_out_by_name(published):
    four = [row for row, name in enumerate(published["speaker"]) if name in [f"ravdess_0{n}" for n in range(1, 5)]]
    part = take(published, four)
    with pytest.raises(
        InputError, match=r"leaves the \w+ part empty: .* 4 speakers of ravdess; .*protocol 'stratified'"
    ):
        split(part)
    parts = split(part, "stratified")
    assert [len({part["speaker"][row] for row in rows}) for rows in parts.values()] == [2, 1, 1]
    three = own(("a", "b", "c"))
    with pytest.raises(InputError, match="'leave_speaker_out_a' and so on, which tests on one speaker"):
        split(three, "fold_4")
    for name in "abc":
        parts = split(three, f"leave_speaker_out_{name}")
        assert {three["speaker"][row] for row in parts["test"]} == {name}
        assert all(parts.values())
        assert prove(three, parts).speaker_disjoint
    with pytest.raises(InputError, match="no speaker called 'd' among 3; name one of three or more: a, b, c"):
        split(three, "leave_speaker_out_d")


def test_labels_of_ones_own_are_named_by_their_class_label():
    features = datasets.Features(
        {name: datasets.Value("string") for name in ("corpus", "speaker", "clip_id")}
        | {"emotion": datasets.ClassLabel(names=["bored", "awake"])}
    )
    rows = {"corpus": ["m"] * 2, "speaker": ["a", "b"], "clip_id": ["1", "2"], "emotion": [0, 1]}
    proof = prove(datasets.Dataset.from_dict(rows, features=features), {"train": [0], "test": [1]})
    assert proof.untrained_labels == ("awake",)
    assert "never recognised: awake" in proof.render()


def test_the_proof_finds_shared_speakers_sentences_and_samples():
    columns = {
        "corpus": ["a", "a", "a", "b"],
        "speaker": ["one", "one", "two", "three"],
        "clip_id": ["c1", "c2", "c3", "c4"],
        "sentence": ["s", "t", "s", "t"],
        "sex": ["female", "female", "male", ""],
        "emotion": ["calm", "sad", "calm", "sad"],
        "sha256": ["h1", "h2", "h1", None],
    }
    proof = prove(columns, {"train": [0, 1], "validation": [3], "test": [2]})
    # The same recording under two names is the same speaker.
    assert not proof.speaker_disjoint
    assert proof.render().startswith("The parts share recordings, under different names.")
    assert proof.overlaps["train", "test"].sentences == ("a/s",)
    assert proof.overlaps["train", "test"].identical_samples == (("c1", "c3"),)
    # The same sentence code in another corpus is another sentence.
    assert proof.overlaps["train", "validation"].sentences == ()
    assert proof.overlaps["train", "validation"].identical_samples == ()
    assert proof.parts["train"].labels == {"calm": 1, "sad": 1}
    assert proof.parts["train"].sexes == {"female": 2}
    assert proof.parts["validation"].sexes == {}
    named = {**columns, "sha256": ["h1", "h2", "h1", "h4"]}
    near = prove(named, {"train": [1], "test": [3]}, [("h4", "h2")])
    assert near.as_dict()["overlaps"]["train/test"]["near_identical"] == [["c2", "c4"]]
    assert not near.speaker_disjoint
    assert prove(named, {"train": [0, 1], "test": [2]}, [("h1", "h2")]).overlaps["train", "test"].recordings == (
        ("c1", "c3"),
        ("c2", "c3"),
    )
    assert prove(columns, {"train": [1], "test": [3]}, []).speaker_disjoint
    shared = prove(columns, {"train": [0], "test": [1, 2, 3]})
    assert not shared.speaker_disjoint
    assert shared.overlaps["train", "test"].speakers == ("one",)
    assert shared.parts["test"].corpora == {"a": 2, "b": 1}
    # Digests of the samples outrank digests of files, whose headers may differ.
    columns["pcm_sha1"] = ["1", "2", "3", "4"]
    assert prove(columns, {"train": [0], "test": [2]}).overlaps["train", "test"].identical_samples == ()
    del columns["pcm_sha1"], columns["sha256"], columns["sentence"]
    uncompared = prove(columns, {"train": [0], "test": [2]})
    assert uncompared.overlaps["train", "test"].identical_samples is None
    assert uncompared.overlaps["train", "test"].sentences is None
    assert uncompared.render().count("not compared") == 3


def test_the_proof_survives_json_and_renders_every_part(published):
    proof = prove(published, split(published, "speaker_independent"))
    assert json.loads(json.dumps(proof.as_dict())) == proof.as_dict()
    text = proof.render()
    assert text.startswith("No speaker is in two parts.")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    total = sum(int(cell.replace(",", "")) for cell in lines["clips"][1:])
    assert total == len(published["clip_id"])
    assert lines["calm"][1:] == ["128", "32", "32"]
    assert prove(published, split(published, "paper")).render().startswith("The parts share speakers.")


def test_wrong_input_is_refused_by_name(published):
    with pytest.raises(InputError, match=r"'random' is unknown; choose one of speaker_independent, fold_0, .*paper"):
        split(published, "random")
    with pytest.raises(InputError, match="'fold_5' is unknown"):
        assign("tess", "tess_OAF", "tess/x", "fold_5")
    with pytest.raises(InputError, match="column 'speaker' is missing"):
        split({"corpus": ["a"], "clip_id": ["b"]})
    with pytest.raises(InputError, match="'mine/1' has no speaker"):
        assign("mine", "", "mine/1", "fold_0")
    with pytest.raises(InputError, match="has no clip_id"):
        assign("mine", "someone", "", "paper")
    for outside in (2, -1):
        with pytest.raises(InputError, match="part 'test' names a row outside the data set of 2 rows"):
            prove({name: ["a", "b"] for name in ("corpus", "speaker", "clip_id")}, {"train": [0], "test": [outside]})
    for unlabelled in (-1, 8, None, ""):
        with pytest.raises(InputError, match="row 0 of column 'emotion'"):
            prove({name: ["a"] for name in COLUMNS} | {"emotion": [unlabelled]}, {"train": [0]})


def test_an_empty_part_is_refused_with_the_way_out(published):
    tess = take(published, [row for row, corpus in enumerate(published["corpus"]) if corpus == "tess"])
    with pytest.raises(InputError, match=r"leaves the validation part empty: .* 2 speakers of tess; add .* choose"):
        split(tess)
    with pytest.raises(InputError, match="tests on corpus 'savee', of which the data set holds no clip"):
        split(tess, "leave_out_savee")
    assert all(split(tess, "paper").values())


def test_a_label_that_nobody_trains_is_refused_unless_the_protocol_leaves_it_out(published):
    trained = set(split(published)["train"])
    rows = [row for row, emotion in enumerate(published["emotion"]) if not (emotion == "calm" and row in trained)]
    without = take(published, rows)
    with pytest.raises(InputError, match="label 'calm' has no training clip under protocol 'speaker_independent'"):
        split(without)
    assert split(without, "leave_out_ravdess")


def test_the_paper_protocol_has_exactly_the_paper_s_number_of_clips(published):
    parts = split(published, "paper")
    assert len(parts["test"]) == 2_432
    assert len(parts["validation"]) == pytest.approx(0.1 * (12_162 - 2_432), rel=0.05)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_the_proof_counts_every_published_clip(published, protocol):
    parts = split(published, protocol)
    proof = prove(published, parts)
    # Counted here without `prove`.
    speakers = [{published["speaker"][row] for row in rows} for rows in parts.values()]
    shared = any(first & second for first, second in itertools.combinations(speakers, 2))
    assert proof.speaker_disjoint == (not shared) == (protocol != "paper")
    assert sum(part.clips for part in proof.parts.values()) == 12_162
    for name, corpus in FOUR.items():
        for emotion, count in corpus.counts.items():
            assert sum(part.counts.get(name, {}).get(emotion, 0) for part in proof.parts.values()) == count
    if protocol != "paper":
        # The known copies are of one speaker each, so a split by speaker keeps them together.
        assert all(overlap.identical_samples == () for overlap in proof.overlaps.values())
