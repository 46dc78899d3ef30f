"""Comparisons: the paper's Table 3, paired tests against scipy and by hand, ties, seeds, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from hf_ser.cli import main
from hf_ser.errors import InputError
from hf_ser.evaluation.compare import compare
from hf_ser.evaluation.intervals import bootstrap_p_value, smallest_difference
from hf_ser.evaluation.scores import evaluate_scores

LABELS = ["calm", "happy", "sad"]


def evaluation(folder, errors, *, seed=0, speakers=20, clips=30, run=None, shift=0):
    """Write the evaluation of an invented model whose decisions are wrong at a rate."""
    draw, order = np.random.default_rng(seed), np.random.default_rng(99)
    truth = order.integers(0, 3, speakers * clips)
    decided = np.where(draw.random(len(truth)) < errors, (truth + 1) % 3, truth)
    scores = np.full((len(truth), 3), 0.1)
    scores[np.arange(len(truth)), decided] = 0.8
    voices, corpora = [f"s{row // clips}" for row in range(len(truth))], ["corpus"] * len(truth)
    measured = evaluate_scores(scores, truth, LABELS, corpora, voices, seed=0, resamples=200)
    columns = {"clip_id": [f"c{row + shift}" for row in range(len(truth))], "corpus": corpora, "speaker": voices,
               "emotion": [LABELS[it] for it in truth], "predicted": [LABELS[it] for it in decided]}  # fmt: skip
    table = pd.DataFrame({**columns, **{label: scores[:, k] for k, label in enumerate(LABELS)}})
    folder.mkdir(parents=True)
    table.to_csv(folder / "predictions.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps({"labels": LABELS, "test": measured}))
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_table_3_of_the_paper():
    found = compare("paper")
    printed = {
        "full": (0.861, 86.1, 0.0713),
        "lora_qkv": (0.6715, 67.146, 0.164),
        "lora_classifier": (0.4461, 44.61, 0.287),
    }
    for row, (name, (f1, accuracy, eer)) in zip(found.rows, printed.items(), strict=True):
        assert row["name"] == f"paper: {name}"
        assert row["f1_micro"] == row["accuracy"] == pytest.approx(f1, abs=5e-4)
        assert 100 * row["accuracy"] == pytest.approx(accuracy, abs=0.02)
        assert row["paper_eer"] == pytest.approx(eer, abs=1e-3)
        assert row["eer"] is None
    assert found.pairs == []
    text = found.render()
    assert "Micro F1 equals accuracy, and is what the paper's Table 3 prints as F1" in text
    assert text.count("### paper: ") == 3


def test_a_better_model_wins_and_equal_ones_tie(tmp_path):
    good, bad = evaluation(tmp_path / "good", 0.2), evaluation(tmp_path / "bad", 0.4, seed=1)
    alike = evaluation(tmp_path / "alike", 0.21, seed=2)
    found = compare(good, bad, alike)
    verdicts = {(pair["one"], pair["other"]): pair["verdict"] for pair in found.pairs}
    assert verdicts == {("good", "bad"): "good", ("good", "alike"): "tie", ("bad", "alike"): "alike"}
    first = found.pairs[0]
    assert first["interval"][0] < first["difference"] < first["interval"][1]
    assert first["difference"] == pytest.approx(found.rows[0]["uar"] - found.rows[1]["uar"])
    ranked = sorted(found.pairs, key=lambda pair: pair["p_bootstrap"])
    by_hand = np.maximum.accumulate(
        [factor * pair["p_bootstrap"] for factor, pair in zip((3, 2, 1), ranked, strict=True)]
    )
    assert [pair["p_bootstrap_holm"] for pair in ranked] == pytest.approx(np.minimum(1, by_hand))
    assert 0.01 < found.pairs[1]["smallest"] < 0.12
    assert compare(good, bad, alike).pairs == found.pairs
    text = found.render()
    assert "| good – alike |" in text
    assert "tie |" in text


def test_the_interval_is_that_of_paired_samples(tmp_path):
    """Two models that err on the same clips are told apart although each one's own interval is wide."""
    base = evaluation(tmp_path / "base", 0.4)
    table = pd.read_csv(base / "predictions.csv")
    wrong = table.index[table["predicted"] != table["emotion"]][::8]
    better = tmp_path / "better"
    better.mkdir()
    (better / "metrics.json").write_text((base / "metrics.json").read_text())
    table.loc[wrong, "predicted"] = table.loc[wrong, "emotion"]
    table.sample(frac=1, random_state=0).to_csv(better / "predictions.csv", index=False)
    (pair,) = compare(base, better).pairs
    assert pair["verdict"] == "better"
    own = compare(base).rows[0]["uar_interval"]
    assert pair["interval"][1] - pair["interval"][0] < own[1] - own[0]
    ratio = scipy.stats.binomtest(0, len(wrong)).pvalue
    assert pair["p_mcnemar"] == pytest.approx(ratio)


def test_few_speakers_and_other_clips(tmp_path):
    two = [evaluation(tmp_path / name, errors, speakers=2) for name, errors in (("a", 0.1), ("b", 0.6))]
    (pair,) = compare(*two).pairs
    assert pair["verdict"] == "too few speakers to tell"
    assert pair["interval"] is None
    assert "too few speakers" in compare(*two).render()
    assert compare(two[0], evaluation(tmp_path / "c", 0.1, shift=1)).pairs == []


def test_seeds_are_summed_up(tmp_path):
    def run(seed, recipe="lora_qkv"):
        return {"model": {"name": "m", "trainable_parameters": 1234}, "recipe": {"name": recipe}, "protocol": "p",
                "dataset": {"fingerprint": "f"}, "arguments": {"seed": seed, "learning_rate": 1e-4},
                "seeds": {"weights": seed}, "seconds": {"total": 61.2},
                "peak_memory_bytes": {"host": 3 << 30}}  # fmt: skip

    runs = [evaluation(tmp_path / f"r{seed}", 0.2, seed=seed, run=run(seed)) for seed in (1, 2, 3)]
    other = evaluation(tmp_path / "other", 0.2, seed=4, run=run(4, "full"))
    found = compare(*runs, other)
    (row,) = found.seeds
    values = [it["uar"] for it in found.rows[:3]]
    assert row["names"] == ["r1", "r2", "r3"]
    assert row["uar"] == {"mean": pytest.approx(np.mean(values)), "deviation": pytest.approx(np.std(values, ddof=1))}
    assert "| r1, r2, r3 | 1, 2, 3 |" in found.render()
    assert "| 1,234 | 61 | 3,072 |" in found.render()


def test_significance_by_hand():
    assert bootstrap_p_value(np.linspace(-1, 1, 1001)) == 1
    assert bootstrap_p_value(np.full(999, 0.3)) == pytest.approx(2 / 1000)
    normal = np.random.default_rng(0).normal(0.1, 0.02, 100_000)
    assert smallest_difference(normal) == pytest.approx(0.02 * (1.959964 + 0.841621), rel=0.01)
    for values in ([], [np.nan]):
        with pytest.raises(ValueError, match="NaN"):
            bootstrap_p_value(values)


def test_the_test_finds_what_it_says_it_finds(tmp_path):
    """Of pairs whose true difference is the smallest that shows, about 80 % are separated."""
    found, smallest = 0, []
    for trial in range(40):
        pair = [evaluation(tmp_path / f"{trial}-{name}", errors, seed=1000 * trial + k, clips=20)
                for k, (name, errors) in enumerate((("a", 0.30), ("b", 0.39)))]  # fmt: skip
        (compared,) = compare(*pair).pairs
        smallest.append(compared["smallest"])
        found += compared["verdict"] != "tie"
    assert np.mean(smallest) == pytest.approx(0.09, abs=0.01)
    assert 0.55 <= found / 40 <= 0.95


def test_refusals(tmp_path, capsys):
    folder = evaluation(tmp_path / "x", 0.2)
    other = evaluation(tmp_path / "y" / "x", 0.2)
    broken = tmp_path / "broken.json"
    for given, message in (
        ((), "nothing to compare"),
        ((folder, folder), "two results are called '.*/x'"),
        ((tmp_path,), "has no predictions.csv"),
        ((tmp_path / "none.json",), "cannot be read"),
        ((broken,), "has no `labels`"),
    ):
        broken.write_text('{"labels": ["a"], "confusion": {"m": [[1, 2]]}}')
        with pytest.raises(InputError, match=message):
            compare(*given)
    assert [row["name"] for row in compare(folder, other).rows] == [f"{tmp_path.name}/x", "y/x"]
    matrices = tmp_path / "own.json"
    matrices.write_text('{"labels": ["a", "b"], "confusion": {"m": [[3, 1], [0, 4]]}}')
    assert main(["compare", str(matrices), str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == ["own: m", "x"]
    assert rows[0]["uar"] == 0.875
    assert main(["compare", "paper"]) == 0
    assert "paper: lora_classifier" in capsys.readouterr().out


def test_an_evaluation_of_another_part(tmp_path):
    folder = evaluation(tmp_path / "x", 0.2)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({"labels": LABELS, "validation": metrics["test"]}))
    assert compare(folder).rows[0]["uar_interval"] == metrics["test"]["pooled"]["intervals"]["uar"]
