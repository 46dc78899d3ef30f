import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from card_checks import EXAMPLE, check_front_matter, example_records, parts_of
from golden import CARDS, RECORDS, read_records, render_golden_cards, take_over

from hf_ser.errors import InputError
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.hub.card import render_model_card
from hf_ser.models.recipes import RECIPES
from hub_server.cards import validate

ADAPTERS = ("lora_qkv", "lora_classifier")


@pytest.fixture(params=sorted(RECIPES))
def records(request) -> tuple[dict, dict]:
    return example_records(request.param)


@pytest.fixture
def qkv() -> tuple[dict, dict]:
    return example_records("lora_qkv")


def test_golden_cards_are_what_the_records_give(tmp_path):
    rendered = render_golden_cards(tmp_path)
    assert [file.stem for file in rendered] == sorted(RECIPES) == sorted(file.stem for file in CARDS.glob("*.md"))
    for file in rendered:
        assert (CARDS / file.name).read_text() == file.read_text(), f"{file.name} differs: run `make cards`"


def test_no_record_and_no_card_tells_a_path_of_a_machine():
    for file in [*RECORDS.rglob("*.json"), *CARDS.glob("*.md")]:
        text = file.read_text()
        assert not re.search(r"/(home|root|work|tmp|Users|mnt|data|usr|opt|var)/|[A-Z]:\\\\", text), file


def test_the_records_of_a_run_are_taken_over_without_its_paths(qkv, tmp_path):
    run, metrics = qkv
    run["model"] |= {"name": "/home/me/encoders/hubert-tiny", "local": True}
    run["dataset"] |= {"name": "../speech/corpora", "local": True}
    run["arguments"] |= {"deepspeed": "/home/me/zero.json", "lr_scheduler_kwargs": {"file": "~/x/y.json"}}
    folder = tmp_path / "run"
    folder.mkdir()
    for name, content in (("run.json", run), ("metrics.json", metrics)):
        (folder / name).write_text(json.dumps(content))
    kept = take_over(folder, tmp_path / "records")
    stored = json.loads((kept / "run.json").read_text())
    assert kept == tmp_path / "records" / "lora_qkv"
    assert (stored["model"]["name"], stored["model"]["local"]) == ("hubert-tiny", True)
    assert (stored["dataset"]["name"], stored["dataset"]["local"]) == ("corpora", True)
    assert (stored["arguments"]["deepspeed"], stored["arguments"]["lr_scheduler_kwargs"]) == (
        "zero.json",
        {"file": "y.json"},
    )
    assert json.loads((kept / "metrics.json").read_text()) == metrics
    assert render_model_card(stored, metrics) == render_model_card(run, metrics)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_records_of_the_golden_cards_are_runs_of_their_recipes(recipe):
    run, metrics = read_records(recipe)
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert validate(card, "model") == ([], [])
    assert run["recipe"]["name"] == recipe
    assert recipe in data["tags"]
    assert ("**Example card: the figures are invented.**" in card) == bool(run.get("example"))


def test_front_matter_is_accepted_and_found(records):
    run, metrics = records
    run["model"] |= {"name": "superb/hubert-large-superb-er", "local": False}
    run["dataset"] |= {"name": "me/eight_emotions", "local": False}
    data = check_front_matter(render_model_card(run, metrics, repo_id="me/ser"))
    adapter = run["recipe"]["name"] in ADAPTERS
    assert data["library_name"] == ("peft" if adapter else "transformers")
    assert data["base_model"] == "superb/hubert-large-superb-er"
    assert data["base_model_relation"] == ("adapter" if adapter else "finetune")
    assert data["datasets"] == ["me/eight_emotions"]
    assert data["language"] == "en"
    assert {"speech-emotion-recognition", "emotion", "hf_ser", run["recipe"]["name"]} <= set(data["tags"])
    assert ("lora" in data["tags"]) == adapter
    assert ("base_model:adapter:superb/hubert-large-superb-er" in data["tags"]) == adapter
    assert data["model-index"][0]["name"] == "ser"


def test_a_merged_adapter_is_a_plain_checkpoint(qkv):
    run, metrics = qkv
    run["model"]["saved"] = "merged"
    card = render_model_card(run, metrics, repo_id="me/ser")
    data = check_front_matter(card)
    assert (data["library_name"], data["base_model_relation"]) == ("transformers", "finetune")
    assert "lora" not in data["tags"]
    assert "pipeline(" in card
    assert "PeftModel" not in card


def test_every_figure_of_the_test_part_is_in_the_model_index(records):
    run, metrics = records
    data = check_front_matter(render_model_card(run, metrics))
    results = data["model-index"][0]["results"]

    def values(result):
        return {(m["type"], *(m.get("args") or {}).values()): m["value"] for m in result["metrics"]}

    def expected(measure):
        found = {("accuracy",): measure["accuracy"], ("recall", "macro"): measure["uar"]}
        found |= {("f1", average): value for average, value in measure["f1"].items()}
        found |= {("eer", average): value for average, value in measure["eer"].items()}
        found[("paper_eer",)] = measure["paper_eer"]
        for label, figures in (measure.get("per_class") or {}).items():
            found |= {(key, label): figures[key] for key in ("recall", "precision", "f1", "eer")}
        return {key: pytest.approx(value, abs=5e-5) for key, value in found.items() if value is not None}

    test = metrics["test"]
    known = {"clips", "speakers", "accuracy", "uar", "f1", "eer", "paper_eer", "per_class", "confusion"}
    assert set(test["pooled"]) == known | {"intervals", "intervals_note"}, "a new figure: report it in the card too"
    assert values(results[0]) == expected(test["pooled"])
    assert len(results) == len(test["corpora"]) + 2
    for (corpus, measure), result in zip(test["corpora"].items(), results[1:-1], strict=True):
        assert result["dataset"]["type"].endswith(corpus)
        assert values(result) == expected({**measure, "per_class": {}})
    assert values(results[-1]) == expected(test["mean_over_corpora"])


def test_results_carry_their_intervals(qkv):
    run, metrics = qkv
    test = metrics["test"]
    _, body = parts_of(render_model_card(run, metrics))
    for measure in (test["pooled"], *test["corpora"].values()):
        for figure, path in (("uar", "uar"), ("accuracy", "accuracy")):
            bounds = measure["intervals"][figure]
            shown = f"{100 * measure[path]:.1f}"
            assert shown in body
            assert bounds is None or f"{shown} ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})" in body
    for label, figures in test["pooled"]["per_class"].items():
        low, high = (f"{100 * bound:.1f}" for bound in figures["recall_interval"])
        recall = f"{100 * figures['recall']:.1f} ({low} to {high})"
        assert f"| {label} | {figures['support']:,} | {recall} |" in body
    assert "(confusion.png)" in body


@pytest.mark.parametrize(
    "name", ["/home/me/models/hubert-tiny", "../models/hubert-tiny", "~/hubert-tiny", "C:\\models\\hubert-tiny"]
)
def test_a_local_path_stays_on_its_machine(qkv, name):
    run, metrics = qkv
    run["model"].update(name=name)
    run["dataset"].update(name=name.replace("hubert-tiny", "corpora"))
    del run["model"]["local"], run["dataset"]["local"]
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert "base_model" not in data
    assert "datasets" not in data
    assert not any("base_model" in tag for tag in data["tags"])
    assert name not in card
    assert "/home" not in card
    assert "`hubert-tiny` (a local folder, not on the Hub)" in card
    assert 'base, adapter = "path/to/hubert-tiny"' in card


def test_a_folder_with_the_form_of_a_hub_id_is_a_folder(qkv, tmp_path, monkeypatch):
    run, metrics = qkv
    run["model"].update(name="encoders/tiny")
    del run["model"]["local"]
    assert check_front_matter(render_model_card(run, metrics))["base_model"] == "encoders/tiny"
    (tmp_path / "encoders" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "base_model" not in check_front_matter(render_model_card(run, metrics))
    # The record's own word counts, wherever the card is rendered.
    monkeypatch.chdir("/")
    run["model"]["local"] = True
    assert "encoders/tiny" not in render_model_card(run, metrics)


def without_each_key(values: dict, depth: int = 2):
    for key in values:
        rest = {other: value for other, value in values.items() if other != key}
        yield key, rest
        if depth > 1 and isinstance(values[key], dict):
            for path, changed in without_each_key(values[key], depth - 1):
                yield f"{key}.{path}", {**values, key: changed}


def test_what_is_unknown_is_left_out(qkv):
    run, metrics = qkv
    for missing, known in [("nothing", run), ("everything", {}), *without_each_key(run)]:
        card = render_model_card(known, metrics)
        text = re.sub(r"```.*?```", "", card, flags=re.S)
        holes = re.findall(r"\bNone\b|\b[Nn]a[Nn]\b|null|Undefined|More information|unknown|\{\}|``", text)
        assert not holes, missing
        if "." not in missing:
            check_front_matter(card)
    bare = render_model_card({}, {"labels": metrics["labels"], "test": metrics["test"]})
    for section in ("## Training", "## Seeds", "## Files", "## Data and split"):
        assert section not in bare
    for key in ("library_name", "base_model", "datasets"):
        assert key not in parts_of(bare)[0]


def test_undefined_figures_are_dashes(qkv):
    labels = ["calm", "sad", "angry"]
    scores = [[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.1, 0.3, 0.6]]
    test = evaluate_scores(scores, [0, 0, 1, 1], labels, ["mine"] * 4, ["a", "a", "b", "b"], seed=0)
    card = render_model_card({"labels": labels}, {"labels": labels, "test": test})
    data = check_front_matter(card)
    (result,) = data["model-index"][0]["results"]
    assert not any(
        (metric.get("args") or {}).get("label") == "angry" and metric["type"] == "recall"
        for metric in result["metrics"]
    )
    assert re.search(r"^\| angry \| 0 \| – \|", card, re.M)


def test_limits_come_from_the_counts(qkv):
    run, metrics = qkv
    card = render_model_card(run, metrics)
    assert "One corpus alone has training clips of calm (RAVDESS)" in card
    assert "every speaker is female in TESS, male in SAVEE." in card
    assert "No training clip is labelled" not in card
    run["dataset"]["parts"]["train"]["counts"]["ravdess"]["calm"] = 0
    assert "No training clip is labelled calm:" in render_model_card(run, metrics)


@pytest.mark.parametrize(("trained", "shown"), [(1000, "100.0"), (999, "99.9"), (8, "0.8"), (1, "0.1")])
def test_trainable_share(qkv, trained, shown):
    run, metrics = qkv
    run["model"] |= {"parameters": 1000, "trainable_parameters": trained}
    assert f"{trained:,} of 1,000 parameters were trained ({shown} %)" in render_model_card(run, metrics)


@pytest.mark.parametrize(
    ("change", "head"),
    [
        ({"protocol": "paper"}, "Warning: speakers leak."),
        ({"protocol": "given", "shared": "train"}, "Warning: speakers leak."),
        ({"protocol": "speaker_independent", "shared": "validation"}, "Warning: speakers leak."),
        ({"protocol": "given", "proof": False}, "Warning: speakers leak."),
        ({"protocol": "given", "nothing": True}, "Warning: speakers may leak."),
        ({"protocol": "given"}, None),
        ({"protocol": "speaker_independent"}, None),
    ],
)
def test_warnings_tell_of_shared_speakers(qkv, change, head):
    run, metrics = qkv
    run["protocol"] = change["protocol"]
    dataset = run["dataset"]
    if "shared" in change:
        dataset["parts"][change["shared"]]["speakers"].append(dataset["parts"]["test"]["speakers"][0])
    if "proof" in change:
        dataset["proof"]["speaker_disjoint"] = change["proof"]
    if "nothing" in change:
        del dataset["proof"], dataset["parts"]
    _, body = parts_of(render_model_card(run, metrics))
    above = body.partition("## ")[0]
    assert ("Warning: speakers" in body) == (head is not None)
    assert ("that the model never heard" in above) == (head is None)
    if change != {"protocol": "paper"}:
        assert ("no speaker is in two parts" in body) == (head is None)
    if head:
        assert f"> **{head}**" in above
    if "shared" in change:
        assert "(1 speaker of the test part)" in above


def test_synthetic_figures_are_evidence_of_nothing(qkv):
    run, metrics = qkv
    del run["example"]
    run["dataset"]["synthetic"] = True
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert "> **Synthetic data: the figures are evidence of nothing.**" in card
    # Nobody shall find the figures under the name of a corpus, or the corpora's terms on sounds that are not theirs.
    assert all(result["dataset"]["type"].startswith("synthetic-") for result in data["model-index"][0]["results"])
    assert not {"license", "language", "datasets"} & set(data)
    assert "livingstone2018ravdess" not in card
    assert "English speech" not in card


@pytest.mark.parametrize(
    ("corpora", "licence", "name"),
    [
        (["crema_d"], "odbl", None),
        (["ravdess", "crema_d"], "cc-by-nc-sa-4.0", None),
        (["ravdess", "tess", "crema_d"], "cc-by-nc-nd-4.0", None),
        (["savee", "crema_d"], "other", "savee-terms"),
        (["crema_d", "my_recordings"], None, None),
    ],
)
def test_the_licence_is_the_most_restrictive_of_the_corpora_used(qkv, corpora, licence, name):
    run, metrics = qkv
    for part in run["dataset"]["parts"].values():
        part["counts"] = {corpus: {"sad": 3} for corpus in corpora}
    measures = metrics["test"]["corpora"]
    metrics["test"]["corpora"] = {corpus: measures[corpus] for corpus in corpora if corpus in measures}
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert data.get("license") == licence
    assert data.get("license_name") == name
    assert ("language" in data) == (licence is not None)
    assert ("names no licence" in card) == (licence is None)
    for corpus, key in (("ravdess", "livingstone2018"), ("tess", "pichorafuller2020"), ("savee", "haq2010")):
        assert (key in card) == (corpus in corpora)


def test_departures_from_the_recipe_come_first(qkv):
    run, metrics = qkv
    run["recipe"]["lora"]["r"] = 4
    run["arguments"]["learning_rate"] = 1e-5
    del run["arguments"]["weight_decay"]
    _, body = parts_of(render_model_card(run, metrics))
    section = body.partition("## Training")[2]
    table = section.partition("| setting | value |")[0]
    assert "| learning_rate | 1e-05 | 0.001 |" in table
    assert re.search(r"\| lora \| r 4, .* \| r 16, .* \|", table)
    # An argument that is not recorded has the default of transformers, and not what the recipe says.
    assert f"| weight_decay | the default of transformers {run['versions']['transformers']} | 0.01 |" in table
    assert "| weight_decay | 0.01 |" not in section


def test_every_hyperparameter_of_the_recipe_itself(qkv):
    run, metrics = qkv
    run["recipe"] = json.loads(json.dumps(RECIPES["lora_qkv"].as_dict()))
    declared = RECIPES["lora_qkv"]
    run |= {"augmentation": None, "patience": 5, "segment_seconds": 10.0}
    run["arguments"] |= {
        "lr_scheduler_type": "linear",
        "learning_rate": declared.learning_rate,
        "num_train_epochs": declared.epochs,
        "per_device_train_batch_size": declared.batch_size,
        "warmup_steps": declared.warmup,
        "weight_decay": declared.weight_decay,
    }
    assert "Every hyperparameter is the recipe's own, or the default of `finetune`." in render_model_card(run, metrics)


def test_settings_of_the_run_that_no_recipe_has_are_departures_too(qkv):
    run, metrics = qkv
    run["arguments"]["lr_scheduler_type"] = "constant"
    run |= {"augmentation": {"noise": 0.5}, "patience": None, "segment_seconds": 6.0}
    table = render_model_card(run, metrics).partition("## Training")[2].partition("| setting | value |")[0]
    assert "| lr_scheduler_type | constant | linear |" in table
    assert "| augmentation | noise 0.5 | none |" in table
    assert "| segments | at most 6 s | at most 10 s |" in table
    assert "| early stopping | none | after 5 evaluations without a better validation UAR |" in table


def test_the_defaults_that_a_card_knows_are_those_of_the_library():
    from hf_ser import finetune, training_arguments
    from hf_ser.hub import sections
    from hf_ser.hub.facts import SEGMENT_SECONDS

    defaults = {name: option.default for name, option in inspect.signature(finetune).parameters.items()}
    assert (defaults["segment_seconds"], defaults["patience"]) == (SEGMENT_SECONDS, sections._PATIENCE)
    assert defaults["augmentation"] is None
    assert training_arguments("full", "out", use_cpu=True).lr_scheduler_type.value == sections._SCHEDULE


def test_paths_in_arguments_are_cut(qkv):
    run, metrics = qkv
    run["arguments"]["deepspeed"] = "/home/me/zero.json"
    card = render_model_card(run, metrics)
    assert "`deepspeed='zero.json'`" in card
    assert "/home/me" not in card


def test_emissions_where_they_were_measured(qkv):
    run, metrics = qkv
    assert "co2_eq_emissions" not in check_front_matter(render_model_card(run, metrics))
    run["emissions"] = {"grams": 12.3456, "source": "CodeCarbon"}
    card = render_model_card(run, metrics)
    assert check_front_matter(card)["co2_eq_emissions"]["emissions"] == 12.346
    assert "| emissions | 12.35 g CO2 equivalents (CodeCarbon) |" in card
    run["emissions"] |= {"kilowatt_hours": 0.25, "country": "Norway", "covers": "training"}
    run["hardware"] = {"platform": "Linux x86_64"}
    card = render_model_card(run, metrics)
    assert validate(card, "model") == ([], [])
    assert check_front_matter(card)["co2_eq_emissions"] == {
        "emissions": 12.346,
        "source": "CodeCarbon",
        "training_type": "fine-tuning",
        "geographical_location": "Norway",
        "hardware_used": "Linux x86_64",
    }
    assert "| emissions | 12.35 g CO2 equivalents, 0.25 kWh, training (CodeCarbon, Norway) |" in card


def test_names_cannot_break_the_card(qkv):
    run, metrics = qkv
    run["dataset"].update(name="my `corpora` | {{ 7 * 7 }}\n---\n# hi", local=True)
    run["recipe"]["name"] = "mine: |\n---\n# hi"
    card = render_model_card(run, metrics)
    check_front_matter(card)
    _, body = parts_of(card)
    assert not re.search(r"^# hi", body, re.M)
    assert "{{ 7 * 7 }}" in body


@pytest.mark.parametrize(
    ("metrics", "repo_id", "message"),
    [
        ({"labels": []}, None, "metrics has no 'test'"),
        ({"test": {}}, None, "metrics has no 'labels'"),
        ({"labels": [], "test": {}}, "me/my model", "repo_id 'me/my model' is no repository"),
    ],
)
def test_bad_input_is_one_line(metrics, repo_id, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        render_model_card({}, metrics, repo_id=repo_id)
    assert "\n" not in str(error.value)


def test_snippets_are_python(records):
    run, metrics = records
    run["segment_seconds"] = 6.0
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(run, metrics, repo_id="me/ser"), re.S)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
        assert '"me/ser"' in block
        assert max(map(len, block.splitlines())) <= 110
    assert "segment_seconds=6" in blocks[0]


@pytest.mark.parametrize("recipe", [*sorted(RECIPES), "merged"])
def test_snippets_run_as_printed_and_agree(recipe, encoder, tmp_path, monkeypatch, capsys):
    import numpy as np
    import soundfile
    import torch

    from hf_ser.models.checkpoint import merge, save_model
    from hf_ser.models.encoders import open_encoder, open_feature_extractor
    from hf_ser.models.recipes import adapt

    run, metrics = example_records("lora_qkv" if recipe == "merged" else recipe)
    base = str(encoder())
    model, _ = open_encoder(base, run["labels"], seed=1)
    adapted = adapt(model, RECIPES[run["recipe"]["name"]])
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    save_model(merge(adapted) if recipe == "merged" else adapted, tmp_path, open_feature_extractor(base))
    if recipe == "merged":
        run["model"]["saved"] = "merged"
    noise = np.random.default_rng(0).normal(scale=0.1, size=(44100, 2))
    soundfile.write(tmp_path / "clip.wav", noise, 44100)
    run["model"].update(name=base, local=True, revision=None)
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(run, metrics), re.S)
    monkeypatch.chdir(tmp_path)
    answers = []
    for block in blocks:
        # Where the base is a local folder, its place is the one thing that a reader has to fill in.
        exec(block.replace(f'"path/to/{Path(base).name}"', repr(base)), {})
        for line in capsys.readouterr().out.splitlines():
            answer = ast.literal_eval(line)
            if isinstance(answer, list):
                answer = {found["label"]: found["score"] for found in answer}
            answers.append(answer.get("scores", answer))
    assert len(answers) == (2 if recipe in ADAPTERS else 3)
    assert all(set(answer) == set(run["labels"]) for answer in answers)
    for answer in answers[1:]:
        assert answer == pytest.approx(answers[0], abs=1e-6)


def test_the_card_needs_neither_torch_nor_transformers():
    script = (
        "import json, sys, pathlib\n"
        "from hf_ser.hub.card import render_model_card\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "run, metrics = (json.loads((folder / name).read_text()) for name in ('run.json', 'metrics.json'))\n"
        "render_model_card(run, metrics)\n"
        "print(sorted({'torch', 'transformers', 'peft', 'datasets', 'numpy', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(EXAMPLE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
