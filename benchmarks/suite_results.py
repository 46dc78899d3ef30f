"""Print the suites of several evaluations side by side, as in RESULTS.md.

python benchmarks/suite_results.py EVALUATION_FOLDER ...
"""

import json
import sys
from pathlib import Path

from hf_ser.evaluation.checks import passed_shares
from hf_ser.text import markdown_table, percent, percent_range

PUBLISHED = {"HuBERT-L, published": (0.64, 0.94, 0.66), "guessing, published": (0.23, 1.00, 0.29)}
SECTIONS = ("correctness", "fairness", "robustness")


def main() -> None:
    facts = {Path(folder).name: json.loads((Path(folder) / "evaluation.json").read_text()) for folder in sys.argv[1:]}
    pooled = {
        Path(folder).name: json.loads((Path(folder) / "metrics.json").read_text())["test"]["pooled"]
        for folder in sys.argv[1:]
    }
    rows = []
    for name, it in pooled.items():
        temper = facts[name]["suite"]["sections"]["calibration"]
        rows.append(
            (name, f"{percent(it['uar'])} ({percent_range(it['intervals']['uar'])})", percent(it["accuracy"]),
             percent(it["f1"]["macro"]), percent(it["eer"]["macro"]), percent(it["roc_auc"]), f"{it['log_loss']:.3f}",
             percent(temper["before"]["ece"]), percent(it["ece"]), percent(it["aurc"]))
        )  # fmt: skip
    for row in next(iter(facts.values()))["suite"]["sections"]["baselines"]["rows"][1:]:
        interval = f" ({percent_range(row['interval'])})" if row["interval"] else ""
        rows.append((row["name"], percent(row["uar"]) + interval, percent(row["accuracy"]), percent(row["f1_macro"]),
                     *["–"] * 6))  # fmt: skip
    print(markdown_table(("model", "UAR (95 %)", "accuracy", "macro F1", "EER", "ROC-AUC", "log loss",
                          "ECE uncalibrated", "ECE", "AURC"), rows))  # fmt: skip
    shares = {name: passed_shares(it["suite"]["checks"]) for name, it in facts.items()}
    rows = [(name, *(f"{found[of]['passed']:.2f}" for of in SECTIONS)) for name, found in shares.items()]
    first = next(iter(shares.values()))
    rows.append(("guessing, here", *(f"{first[of]['guessing']:.2f}" for of in SECTIONS)))
    rows += [(name, *(f"{value:.2f}" for value in values)) for name, values in PUBLISHED.items()]
    counts = [f"{of} ({first[of]['checks']} checks here)" for of in SECTIONS]
    print("\n" + markdown_table(("share of checks passed", *counts), rows))
    tests = next(iter(facts.values()))["suite"]["sections"]["robustness"]["disturbances"]
    rows = []
    for test in tests:
        cells = []
        for it in facts.values():
            found = it["suite"]["sections"]["robustness"]["disturbances"][test]
            cells += [percent(found["uar_lost"]), percent(found["unchanged"])]
        rows.append((test, f"{tests[test]['clips']:,}", *cells))
    header = [f"{name}: {what}" for name in facts for what in ("UAR lost", "unchanged")]
    print("\n" + markdown_table(("disturbance", "clips", *header), rows))
    rows = [(name, *(f"{seconds:.0f}" for seconds in it["suite"]["seconds"].values())) for name, it in facts.items()]
    print("\n" + markdown_table(("seconds", *next(iter(facts.values()))["suite"]["seconds"]), rows))


if __name__ == "__main__":
    main()
