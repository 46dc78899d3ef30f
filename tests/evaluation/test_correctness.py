"""Correctness and fairness on answers whose figures are known: by class, speaker and group, thresholds, listeners."""

import numpy as np
import pytest
import scipy.stats
from answers import answered

from dataset_files import noise, write_wav
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.source import open_dataset
from hf_ser.evaluation import correctness, fairness
from hf_ser.evaluation.checks import check, passed_shares
from hf_ser.evaluation.evaluate import evaluate

LABELS = ("angry", "happy", "neutral", "sad")


def by_name(found):
    return {(one["test"], one["subject"], one["metric"]): one for one in found["checks"]}


def test_figures_of_classes_and_their_shares():
    references = np.repeat(range(4), 20)
    decisions = references.copy()
    decisions[:15] = 1
    found = correctness.section(answered(LABELS, references, decisions, sex=["female", "male"] * 40))
    checks = by_name(found)
    assert checks["by_class", "corpus", "recall angry"]["value"] == 0.25
    assert not checks["by_class", "corpus", "recall angry"]["passed"]
    assert checks["by_class", "corpus", "precision happy"]["value"] == pytest.approx(20 / 35)
    assert checks["by_class", "corpus", "share error happy"]["value"] == pytest.approx(15 / 80)
    assert checks["by_class", "corpus", "uar"]["value"] == pytest.approx(3.25 / 4)
    assert found["class_shares"]["happy"] == [0.25, 35 / 80]
    assert [row["sex"] for row in found["sexes"]] == ["female", "male"]
    assert sum(row["clips"] for row in found["speakers"]) == 80
    assert found["listeners"] is None


def test_the_order_of_speakers():
    draw = np.random.default_rng(0)
    speakers = np.repeat([f"s{number:02}" for number in range(12)], 60)
    shares = np.linspace(0.2, 0.75, 12)
    references = np.concatenate([draw.permutation(np.arange(60) < 60 * share).astype(int) for share in shares])
    decisions = np.where(draw.random(len(references)) < 0.1, 1 - references, references)
    judged = answered(("calm", "sad"), references, decisions, speaker=speakers)
    measured = correctness.section(judged)["by_speaker"]["corpus"]["sad"]
    true, said = ([(it[speakers == who] == 1).mean() for who in np.unique(speakers)] for it in (references, decisions))
    assert measured["rho"] == pytest.approx(scipy.stats.spearmanr(true, said).statistic)
    assert measured["mean absolute error"] == pytest.approx(np.abs(np.subtract(true, said)).mean())
    assert measured["precision of quarters"] > 0.6
    assert measured["quarters confused"] == 0
    reversed_order = answered(("calm", "sad"), references, 1 - references, speaker=speakers)
    turned = correctness.section(reversed_order)["by_speaker"]["corpus"]["sad"]
    assert turned["rho"] == pytest.approx(-1)
    assert turned["quarters confused"] == 1


def test_speakers_with_equal_shares_have_no_order():
    references = np.arange(800) % 4
    judged = answered(LABELS, references, references, speaker=np.repeat([f"s{k}" for k in range(10)], 80))
    measured = correctness.section(judged)["by_speaker"]["corpus"]["sad"]
    assert (measured["rho"], measured["mean absolute error"]) == (None, 0)


def test_listeners():
    references = [0, 0, 1, 3]
    votes = [{"angry": 8, "sad": 2}, {"angry": 4, "sad": 6}, {"happy": 10}, None]
    votes = [
        None if row is None else {label: row.get(label, 0) for label in ("angry", "happy", "sad")} for row in votes
    ]
    judged = answered(LABELS, references, [0, 0, 0, 3], voice_votes=votes)
    found = correctness.section(judged)["listeners"]
    assert found["clips"] == 3
    rows = {row["who"]: row for row in found["rows"]}
    assert rows["single listener"]["accuracy"] == pytest.approx((0.8 + 0.4 + 1) / 3)
    assert rows["majority of the listeners"]["accuracy"] == pytest.approx(2 / 3)
    assert rows["model"]["uar"] == pytest.approx(0.5)
    assert 0 < found["divergence"] < 1


def test_the_votes_of_a_build_reach_the_listeners_row(encoder, tmp_path, toy):
    header, labels = '"","A","D","F","H","N","S","fileName"', {"ANG": "9,0,0,0,1,0", "SAD": "0,0,0,0,4,6"}
    names = [f"{speaker}_DFA_{label}_XX" for speaker in range(1001, 1092) for label in labels]
    rows = [f'"{way}0000{k}",{labels[name[9:12]]},"{name}"' for way in (1, 2, 3) for k, name in enumerate(names)]
    for seed, name in enumerate(names):
        write_wav(tmp_path / f"CREMA-D/{name}.wav", noise(seed, 400))
    (tmp_path / "CREMA-D/tabulatedVotes.csv").write_text("\n".join([header, *rows]))
    built = build_dataset(out=tmp_path / "built", crema_d=tmp_path / "CREMA-D").folder
    found = evaluate(encoder(labels=list(LABELS)), built, suite="correctness").suite["sections"]["correctness"]
    listeners = found["listeners"]
    assert listeners["clips"] == 36
    assert listeners["labels"] == ["angry", "sad"]
    assert {row["who"]: row["accuracy"] for row in listeners["rows"]}["single listener"] == pytest.approx(1)
    # Other data beside it has no votes.
    both = open_dataset([str(built), toy], "stratified", speakers=None)
    votes = [votes for rows in both.parts.values() for votes in rows["voice_votes"]]
    assert sum(one is None or one["angry"] is None for one in votes) == 72
    assert sum(one is not None and one["angry"] is not None for one in votes) == 182


def fair(monkeypatch, decisions, references, **columns):
    monkeypatch.setattr(fairness, "_pitches", lambda judged: {})
    return fairness.section(answered(LABELS, references, decisions, **columns))


def test_a_group_that_is_treated_worse_is_found_and_a_fair_model_passes(monkeypatch):
    draw, references = np.random.default_rng(0), np.arange(800) % 4
    sexes = np.repeat(["female", "male"], 400)
    fails = draw.random(800) < np.where(sexes == "male", 0.5, 0.05)
    decisions = np.where(fails, (references + 1) % 4, references)
    found = fair(monkeypatch, decisions, references, sex=sexes)
    checks = by_name(found)
    assert not checks["corpus, sex", "male", "uar"]["passed"]
    assert checks["corpus, sex", "male", "uar"]["guessing_passed"]
    rows = {row["group"]: row for row in found["groupings"]["corpus, sex"]}
    assert rows["male"]["uar"] == pytest.approx(1 - fails[400:].reshape(-1, 4).mean(axis=0).mean())
    alike = np.where(draw.random(800) < 0.2, (references + 1) % 4, references)
    checks = fair(monkeypatch, alike, references, sex=sexes)["checks"]
    shares = passed_shares([{"section": "fairness", **one} for one in checks])
    assert shares["fairness"]["passed"] > 0.9
    assert shares["fairness"]["guessing"] > 0.9


def test_labels_weigh_the_same_in_every_group(monkeypatch):
    """Recall is 1 for three labels and 0.5 for one; groups differ in how often that one occurs."""
    references = np.concatenate([np.repeat(range(4), [100, 20, 20, 20]), np.repeat(range(4), [20, 20, 20, 100])])
    decisions = references.copy()
    for group in (slice(0, 160), slice(160, 320)):
        angry = np.flatnonzero(references[group] == 0) + group.start
        decisions[angry[: len(angry) // 2]] = 3
    found = fair(monkeypatch, decisions, references, sex=np.repeat(["female", "male"], 160))
    for row in found["groupings"]["corpus, sex"]:
        assert (row["uar"], row["uap"]) == pytest.approx((0.875, (3 + 1 / 1.5) / 4))
        assert row["uar_difference"] == pytest.approx(0, abs=1e-12)


def test_limits_grow_as_groups_shrink(monkeypatch):
    references = np.arange(1000) % 4
    limits = []
    for male in (60, 500):
        sexes = np.array(["male"] * male + ["female"] * (1000 - male))
        rows = fair(monkeypatch, references, references, sex=sexes)["groupings"]["corpus, sex"]
        limits.append({row["group"]: row["uar_limit"] for row in rows}["male"])
    assert limits[0] > 2 * limits[1]


def test_known_corpora_give_age_and_race_and_small_groups_are_left_out(monkeypatch):
    speakers = ["crema_d_1001"] * 60 + ["crema_d_1002"] * 60 + ["crema_d_1005"] * 60 + ["crema_d_1019"] * 10
    references = np.arange(190) % 4
    found = fair(monkeypatch, references, references, speaker=speakers, corpus=["crema_d"] * 190)
    ages = {row["group"]: row["clips"] for row in found["groupings"]["crema_d, age"]}
    assert ages == {"45 years and over": 60, "under 30 years": 130}
    assert {row["group"] for row in found["groupings"]["crema_d, race"]} == {"Caucasian", "African American"}
    nothing = fair(monkeypatch, references[:40], references[:40], sex=["female", "male"] * 20)
    assert "no two groups" in nothing["not_computed"]


def test_pitch_of_low_and_high_voices(monkeypatch):
    times = np.arange(16_000) / 16_000
    tones = {who: sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 12)).astype(np.float32)
             for who, pitch in (("low", 110.0), ("high", 230.0))}  # fmt: skip
    judged = answered(LABELS, [0, 1, 2, 3], [0, 1, 2, 3], speaker=["low", "high"] * 2)
    names = ["low", "high"] * 2
    monkeypatch.setattr(type(judged), "samples", lambda self, rows: (tones[names[int(row)]] for row in rows))
    found = fairness._pitches(judged)
    assert found["low"] == pytest.approx(110, rel=0.02)
    assert found["high"] == pytest.approx(230, rel=0.02)


def test_checks():
    assert check("a", "b", "c", 0.1, 0.3, at_most=0.2)["passed"]
    assert not check("a", "b", "c", 0.1, 0.3, at_most=0.2)["guessing_passed"]
    assert check("a", "b", "c", 0.5, 0.4, at_least=0.5)["passed"]
    assert check("a", "b", "c", 0.5, 0.4, at_least=0.5)["at_least"] == 0.5
