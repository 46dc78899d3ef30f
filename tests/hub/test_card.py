import ast
import re

import pytest
from card_checks import check_front_matter, parts_of
from golden import CARDS, RECORDS, RUNS, read_records, render_golden_cards

from hf_ser.errors import InputError
from hf_ser.hub.card import render_model_card
from hf_ser.hub.facts import shareable_record, without_local_paths
from hf_ser.models.recipes import PAPER_RECIPES

ADAPTERS = ("lora_qkv", "lora_classifier")


@pytest.fixture(params=sorted(PAPER_RECIPES))
def records(request) -> tuple[dict, dict]:
    return read_records(request.param)


@pytest.fixture
def qkv() -> tuple[dict, dict]:
    return read_records("lora_qkv")


# --- the cards in model_cards/ ---


def test_golden_cards_are_up_to_date(tmp_path):
    rendered = render_golden_cards(tmp_path)
    assert {file.stem for file in rendered} == {file.stem for file in CARDS.glob("*.md")} >= {*PAPER_RECIPES, "layers"}
    for file in rendered:
        assert (CARDS / file.name).read_text() == file.read_text(), f"{file.name} differs: run `make cards`"


def test_no_record_and_no_card_has_a_local_path():
    for file in [*RECORDS.rglob("*.json"), *RUNS.rglob("*.json"), *CARDS.glob("*.md")]:
        text = file.read_text()
        assert file.is_relative_to(RECORDS) or '"example": true' not in text, f"{file} is of no run"
        assert not re.search(r"/(home|root|work|tmp|Users|mnt|data|usr|opt|var)/|[A-Z]:\\\\", text), file


# --- front matter ---


def test_front_matter_is_valid_and_searchable(records):
    run, metrics = records
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


def test_the_model_index_has_the_headline_of_the_pooled_test_part(records):
    run, metrics = records
    data = check_front_matter(render_model_card(run, metrics))
    (result,) = data["model-index"][0]["results"]
    pooled = metrics["test"]["pooled"]
    found = {(metric["type"], *(metric.get("args") or {}).values()): metric["value"] for metric in result["metrics"]}
    assert found == {
        ("recall", "macro"): pytest.approx(pooled["uar"], abs=5e-5),
        ("accuracy",): pytest.approx(pooled["accuracy"], abs=5e-5),
        ("f1", "macro"): pytest.approx(pooled["f1"]["macro"], abs=5e-5),
        ("f1", "weighted"): pytest.approx(pooled["f1"]["weighted"], abs=5e-5),
        ("eer", "macro"): pytest.approx(pooled["eer"]["macro"], abs=5e-5),
    }


def test_a_merged_adapter_is_a_plain_checkpoint(qkv):
    run, metrics = qkv
    run["model"]["saved"] = "merged"
    card = render_model_card(run, metrics, repo_id="me/ser")
    data = check_front_matter(card)
    assert (data["library_name"], data["base_model_relation"]) == ("transformers", "finetune")
    assert "lora" not in data["tags"]
    assert "pipeline(" in card
    assert "PeftModel" not in card


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
def test_the_licence_is_the_most_restrictive_of_the_corpora(qkv, corpora, licence, name):
    run, metrics = qkv
    del run["dataset"]["languages"], run["dataset"]["licence"]
    for part in run["dataset"]["parts"].values():
        part["counts"] = {corpus: {"sad": 3} for corpus in corpora}
    measures = metrics["test"]["corpora"]
    metrics["test"]["corpora"] = {corpus: measures[corpus] for corpus in corpora if corpus in measures}
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert (data.get("license"), data.get("license_name")) == (licence, name)
    assert ("language" in data) == (licence is not None)
    assert ("names no licence" in card) == (licence is None)
    for corpus, key in (("ravdess", "livingstone2018"), ("tess", "pichorafuller2020"), ("savee", "haq2010")):
        assert (key in card) == (corpus in corpora)


def test_language_and_licence_of_the_record_come_first(qkv):
    run, metrics = qkv
    run["dataset"] |= {"languages": ["de", "nb"], "licence": "cc-by-4.0"}
    data = check_front_matter(render_model_card(run, metrics))
    assert (data["language"], data["license"]) == (["de", "nb"], "cc-by-4.0")
    run["dataset"] |= {"languages": ["de"], "licence": "Terms of our Lab"}
    data = check_front_matter(render_model_card(run, metrics))
    assert (data["language"], data["license"], data["license_name"]) == ("de", "other", "terms-of-our-lab")


# --- local paths and unknown facts ---


@pytest.mark.parametrize(
    "name", ["/home/me/models/hubert-tiny", "../models/hubert-tiny", "~/hubert-tiny", "C:\\models\\hubert-tiny"]
)
def test_a_local_path_is_reduced_to_its_last_part(qkv, name):
    run, metrics = qkv
    run["model"].update(name=name)
    run["dataset"].update(name=name.replace("hubert-tiny", "corpora"))
    del run["model"]["local"], run["dataset"]["local"]
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert not {"base_model", "datasets"} & set(data)
    assert not any("base_model" in tag for tag in data["tags"])
    assert name not in card
    assert "/home" not in card
    assert "# Speech emotion recognition: hubert-tiny, lora_qkv\n" in card
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
    # The record decides, wherever the card is rendered.
    monkeypatch.chdir("/")
    run["model"]["local"] = True
    assert "encoders/tiny" not in render_model_card(run, metrics)


def test_records_are_cleaned_of_local_paths(tmp_path, monkeypatch):
    (tmp_path / "sub" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    values = {"a": ["/home/me/hubert/", "~/models/x", r"C:\me\enc", "sub/model"], "b": {"c": "me/hubert", "d": 3}}
    cleaned = {"a": ["hubert", "x", "enc", "model"], "b": {"c": "me/hubert", "d": 3}}
    assert without_local_paths(values) == cleaned
    run = {"model": {"name": "gone/encoder", "local": True}, "dataset": {"name": "me/corpora", "local": False}}
    assert [part["name"] for part in shareable_record(run).values()] == ["encoder", "me/corpora"]
    assert shareable_record({"arguments": {"hub_token": "hf_abcdefgh1"}}) == {"arguments": {"hub_token": "hf_***"}}
    assert run["model"]["name"] == "gone/encoder"


def without_each_key(values: dict, depth: int = 2):
    for key in values:
        rest = {other: value for other, value in values.items() if other != key}
        yield key, rest
        if depth > 1 and isinstance(values[key], dict):
            for path, changed in without_each_key(values[key], depth - 1):
                yield f"{key}.{path}", {**values, key: changed}


def test_unknown_facts_are_left_out(qkv):
    run, metrics = qkv
    for missing, known in [("nothing", run), ("everything", {}), *without_each_key(run)]:
        for figures in (metrics, None):
            card = render_model_card(known, figures)
            text = re.sub(r"```.*?```", "", card, flags=re.S)
            gaps = re.findall(
                r"\bNone\b|\b[Nn]a[Nn]\b|null|Undefined|unknown|\{\}|``|  \w", text.partition("---\n\n")[2]
            )
            assert not gaps, (missing, gaps)
    bare = render_model_card({}, metrics)
    for section in ("## Training", "## Environment", "## Files", "## Data and split"):
        assert section not in bare
    assert not {"library_name", "base_model", "datasets"} & set(check_front_matter(bare))


# --- what a reader must know ---


@pytest.mark.parametrize(
    ("change", "head"),
    [
        ({"protocol": "paper"}, "Warning: the parts of this split overlap."),
        ({"protocol": "given", "shared": "train"}, "Warning: the parts of this split overlap."),
        ({"protocol": "speaker_independent", "shared": "validation"}, "Warning: the parts of this split overlap."),
        ({"protocol": "given", "proof": {"speaker_disjoint": False}}, "Warning: the parts of this split overlap."),
        ({"protocol": "given", "copies": 24}, "Warning: the parts of this split overlap."),
        ({"protocol": "given", "proof": None}, "Warning: the parts of this split may overlap."),
        ({"protocol": "given"}, None),
        ({"protocol": "speaker_independent"}, None),
    ],
)
def test_unseen_speakers_are_claimed_only_if_the_parts_share_nothing(qkv, change, head):
    run, metrics = qkv
    run["protocol"] = change["protocol"]
    dataset = run["dataset"]
    if "shared" in change:
        dataset["parts"][change["shared"]]["speakers"].append(dataset["parts"]["test"]["speakers"][0])
    if "copies" in change:
        dataset["proof"]["overlaps"]["train/test"]["identical_samples"] = [["a", "b"]] * change["copies"]
    if "proof" in change:
        dataset["proof"] = change["proof"]
        if change["proof"] is None:
            del dataset["parts"]
    _, body = parts_of(render_model_card(run, metrics))
    above = body.partition("## ")[0]
    assert ("Warning:" in body) == (head is not None)
    assert ("unseen speakers" in above) == (head is None)
    if change != {"protocol": "paper"}:
        assert ("No speaker is in two parts" in body) == (head is None)
    if head:
        assert f"> **{head}**" in above
    if "shared" in change:
        assert "share 1 speaker, so" in above
    if "copies" in change:
        assert "share 24 recordings, so" in above
        assert "train and test share 334 sentences, 24 identical samples" in body


def test_synthetic_data_is_not_speech(qkv):
    run, metrics = qkv
    del run["example"]
    run["dataset"]["synthetic"] = True
    card = render_model_card(run, metrics)
    data = check_front_matter(card)
    assert "> **Synthetic data: the run only shows that the pipeline runs.**" in card
    # The figures must not be found under the name of a corpus, nor a corpus's licence on synthetic sounds.
    assert data["model-index"][0]["results"][0]["dataset"]["type"].startswith("synthetic-")
    assert not {"license", "language", "datasets"} & set(data)
    assert "livingstone2018ravdess" not in card
    assert "English speech" not in card


def test_results_have_their_intervals(qkv):
    run, metrics = qkv
    test = metrics["test"]
    _, body = parts_of(render_model_card(run, metrics))
    for measure in (test["pooled"], *test["corpora"].values()):
        for figure in ("uar", "accuracy"):
            bounds = measure["intervals"][figure]
            shown = f"{100 * measure[figure]:.1f}"
            assert shown + (f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})" if bounds else "") in body
    for label, figures in test["pooled"]["per_class"].items():
        low, high = (f"{100 * bound:.1f}" for bound in figures["recall_interval"])
        recall = f"{100 * figures['recall']:.1f} ({low} to {high})"
        precision = f"{100 * figures['precision']:.1f}"
        assert f"| {label} | {figures['support']:,} | {precision} | {recall} |" in body
    assert "(confusion.png)" in body


def test_what_is_known_of_the_speech_and_its_speakers_is_said_and_nothing_else(qkv):
    run, metrics = qkv
    run["dataset"] |= {"languages": ["de"], "acted": False, "labels_renamed": {"Wut": "angry", "müde": ""}}
    run["dataset"]["left_out"] = {"missing_file": 3}
    run["dataset"]["proof"] |= {"speakers_known": False, "speaker_disjoint": False}
    card = render_model_card(run, metrics)
    said = ["short clip of speech (de)", "the speakers of the data are not known", "clips of unknown speakers"]
    said += ["`Wut` became `angry`, `müde` was dropped", "in no part: 3 `missing_file`", "Acted speech, other"]
    assert not [words for words in said if words not in card]
    claims = ("English speech", "an actor", "unseen", "No speaker is in two parts", "| part | clips | speakers |")
    assert not [words for words in claims if words in card]
    assert check_front_matter(card)["language"] == "de"


def test_names_cannot_break_the_card(qkv):
    run, metrics = qkv
    run["dataset"].update(name="my `corpora` | {{ 7 * 7 }}\n---\n# hi <!-- hf_ser:end -->", local=True)
    run["recipe"]["name"] = "mine: |\n---\n# hi"
    card = render_model_card(run, metrics)
    check_front_matter(card)
    _, body = parts_of(card)
    assert not re.search(r"^# hi", body, re.M)
    assert "{{ 7 * 7 }}" in body
    assert body.count("<!--") == 2


def test_a_training_in_progress_and_a_model_without_records_have_no_figures(qkv):
    run, _ = qkv
    progress = {"step": 1200, "epoch": 1.0, "validation_uar": 0.5}
    card = render_model_card(run, None, repo_id="me/x", progress=progress)
    assert "**Training is in progress.** This is the model of step 1,200 (epoch 1.00), with a UAR" in card
    assert "50.0 % on the validation part" in card
    assert "on the validation part" not in render_model_card(run, None, progress={"step": 3, "epoch": 0.5})
    bare = render_model_card({"labels": ["calm", "sad"]}, None)
    assert "> **The quality of this model is not known.**" in bare
    for text in (card, bare):
        assert not {"model-index", "metrics"} & set(parts_of(text)[0])
        assert "## Results" not in text


@pytest.mark.parametrize(
    ("metrics", "repo_id", "message"),
    [
        ({"labels": []}, None, "metrics has no 'test'"),
        ({"test": {}}, None, "metrics has no 'labels'"),
        (None, "me/my model", "repo_id 'me/my model' is not a valid repository id"),
    ],
)
def test_bad_input_is_one_line(metrics, repo_id, message):
    with pytest.raises(InputError, match=re.escape(message)):
        render_model_card({}, metrics, repo_id=repo_id)


def test_snippets_are_python(records):
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(*records, repo_id="me/ser"), re.S)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
        assert '"me/ser"' in block
        assert max(map(len, block.splitlines())) <= 110
