"""Front matter is merged key by key, lists by their entries, results by what they measure."""

import pytest
import yaml
from merging import FRONT, NEW, OLD, card, edited, merged

from hf_ser.errors import InputError
from hf_ser.hub.card_merge import merge_card
from hub_server.cards import front_matter, validate


def fronts(theirs: str, ours: str = FRONT, base: str | None = FRONT, **options) -> str:
    """Merge the front matter alone."""
    text = merged(card(front=theirs), card(front=ours), None if base is None else card(front=base), **options)
    assert validate(text, "model")[0] == []
    return text.split("---\n")[1].rstrip("\n")


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        # What a human added stays, in its place and its writing, comments included.
        (f"thumbnail: 'x.png'  # mine\n{FRONT}", FRONT, f"thumbnail: 'x.png'  # mine\n{FRONT}"),
        (f"{FRONT}\n# The end.", FRONT, f"{FRONT}\n# The end."),
        (f"# Mine.\n{FRONT}", FRONT.replace("hf_ser", "lora"), f"# Mine.\n{FRONT}".replace("hf_ser", "lora")),
        (FRONT.replace("odbl", "mit # asked"), FRONT.replace("odbl", "other"), FRONT.replace("odbl", "mit # asked")),
        # What nobody touched is as it is generated now.
        (f"{FRONT}\nextra: 1", FRONT.replace("odbl", "other"), f"{FRONT}\nextra: 1".replace("odbl", "other")),
        (
            f"{FRONT}\nextra: 1",
            FRONT.replace("license: odbl\n", ""),
            f"{FRONT}\nextra: 1".replace("license: odbl\n", ""),
        ),
        # What a human removed stays away, changed since or not.
        (FRONT.replace("license: odbl\n", ""), FRONT, FRONT.replace("license: odbl\n", "")),
        (FRONT.replace("license: odbl\n", ""), FRONT.replace("odbl", "mit"), FRONT.replace("license: odbl\n", "")),
        # Lists entry by entry.
        (f"{FRONT}\n- mine", f"{FRONT}\n- lora", f"{FRONT}\n- mine\n- lora"),
        (FRONT.replace("- emotion\n", ""), f"{FRONT}\n- lora", f"{FRONT}\n- lora".replace("- emotion\n", "")),
        (f"{FRONT}\n- mine", FRONT.replace("- emotion\n", ""), f"{FRONT}\n- mine".replace("- emotion\n", "")),
        (FRONT.replace("en", "de", 1), FRONT, FRONT.replace("en", "de", 1)),
    ],
)
def test_front_matter_is_merged_by_keys(theirs, ours, expected):
    assert fronts(theirs, ours) == expected


def test_a_new_key_comes_behind_the_one_that_it_follows():
    text = fronts(f"{FRONT}\nextra: 1", FRONT.replace("tags", "library_name: peft\ntags"))
    assert list(yaml.safe_load(text)) == ["language", "license", "library_name", "tags", "extra"]


def test_what_a_human_made_of_a_list_stays_where_the_list_is_generated_no_more():
    assert fronts(FRONT.replace(": en", ": [en, no]"), FRONT.replace("language: en\n", "")).startswith(
        "language:\n- 'no'\n"
    )


def test_one_language_and_another_are_two_without_a_base():
    assert front_matter(f"---\n{fronts('language: de', base=None)}\n---\n")["language"] == ["de", "en"]


def test_plain_words_are_read_as_the_hub_reads_them():
    text = fronts(f"{FRONT}\nlanguage_bcp47: [no, on]\ntime: 12:30:00\ndate: 2024-01-01\ncount: 1_0\n# {'-' * 3}")
    assert "language_bcp47: [no, on]\ntime: 12:30:00\ndate: 2024-01-01" in text
    # Written anew, too.
    again = fronts(f"{FRONT}\n- no", f"{FRONT}\n- lora")
    assert yaml.safe_load(again)["tags"] == ["emotion", "hf_ser", "no", "lora"]


def test_owned_keys_are_always_as_generated():
    theirs = FRONT.replace("odbl", "mit") + "\nsdk: docker\nmine: 1"
    text = fronts(theirs, f"{FRONT}\nsdk: gradio", FRONT, owned={"license", "sdk", "app_file"})
    assert yaml.safe_load(text) == {**yaml.safe_load(FRONT), "sdk": "gradio", "mine": 1}


def test_mappings_are_merged_by_keys():
    base = f"{FRONT}\nco2_eq_emissions:\n  emissions: 1.0\n  source: CodeCarbon"
    text = fronts(f"{base}\n  geographical_location: Norway", base.replace("1.0", "2.5"), base)
    assert yaml.safe_load(text)["co2_eq_emissions"] == {
        "emissions": 2.5,
        "source": "CodeCarbon",
        "geographical_location": "Norway",
    }


@pytest.mark.parametrize(
    "front",
    [
        "{language: en, license: odbl, tags: [emotion, hf_ser], extra: 1}",
        "license: &l odbl\nlicense_name: *l\ntags: [emotion, hf_ser]\nextra: 1",
        "? language\n: en\nlicense: odbl\ntags: [emotion, hf_ser]\nextra: 1",
        "language: en\nlicense: mit\nlicense: odbl\ntags: [emotion, hf_ser]\nextra: 1",
        "tags: [emotion,\n  hf_ser]\nlicense: |-\n  odbl\n\nextra: 1",
    ],
)
def test_any_writing_of_yaml_is_read(front):
    text = fronts(front, FRONT.replace("hf_ser", "lora"))
    data = yaml.safe_load(text)
    assert data["license"] == "odbl"
    assert data["tags"] == ["emotion", "lora"]
    assert data["extra"] == 1


LAUGHS = "\n".join(["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])


@pytest.mark.parametrize(
    ("front", "reason"),
    [
        ("title: My model: the best", "line 2: mapping values are not allowed here"),
        ("tags: [a, b", "line 2: "),
        ("- a\n- b", "no mapping"),
        ("just words", "no mapping"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: &a [*a]", "RecursionError"),
        (LAUGHS, "aliases"),
        ("\tlicense: mit", "line 2: "),
    ],
)
def test_front_matter_that_cannot_be_read_is_refused_in_one_line(front, reason):
    with pytest.raises(InputError, match=r"README\.md cannot be read") as error:
        merge_card(NEW, card(front=front), OLD)
    assert reason in str(error.value)
    assert "nothing was overwritten; mend it there" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_base_that_cannot_be_read_is_as_none():
    text = merge_card(NEW, edited(("- emotion", "- mine")), card(front="a: b: c"))
    assert front_matter(text)["tags"] == ["mine", "hf_ser", "emotion"]


# --- model index ---


def result(kind: str, *metrics: dict, **dataset) -> dict:
    return {
        "task": {"type": "audio-classification"},
        "dataset": {"type": kind, "name": kind, **dataset},
        "metrics": list(metrics),
    }


def metric(value: float, kind: str = "accuracy", **fields) -> dict:
    return {"type": kind, "value": value, "name": kind, **fields}


def index(*results: dict, name: str = "ser", others: tuple = ()) -> str:
    models = [{"name": name, "results": list(results)}, *others]
    return card(front=yaml.safe_dump({"license": "odbl", "model-index": models}, sort_keys=False).rstrip())


def results_of(text: str) -> list[dict]:
    assert validate(text, "model") == ([], [])
    return [found for model in front_matter(text)["model-index"] for found in model["results"]]


def test_results_of_ours_are_those_of_now_and_others_stay():
    base = index(
        result("tess", metric(0.5), metric(0.4, "f1", args={"average": "macro"})), result("savee", metric(0.1))
    )
    ours = index(result("tess", metric(0.6), metric(0.7, "f1", args={"average": "macro"})))
    mine = result("emodb", metric(0.3))
    other = {"name": "other", "results": [result("tess", metric(0.9))]}
    theirs = index(
        mine,
        # Changed by hand, under a new name, and one of the human's own.
        result(
            "tess", metric(0.55), {**metric(0.4, "f1", args={"average": "macro"}), "name": "F1"}, metric(0.2, "wer")
        ),
        result("savee", metric(0.1)),
        others=(other,),
    )
    merged_index = merged(theirs, ours, base)
    assert results_of(merged_index) == [
        mine,
        result("tess", metric(0.6), metric(0.7, "f1", args={"average": "macro"}), metric(0.2, "wer")),
        *other["results"],
    ]


def test_results_differ_by_configuration_split_and_arguments():
    base = index(result("tess", metric(0.5), config="paper"))
    theirs = index(
        result("tess", metric(0.5), config="paper"),
        result("tess", metric(0.5), config="fold"),
        result("tess", metric(0.1, args={"average": "micro"}), config="paper"),
    )
    found = results_of(merged(theirs, index(result("tess", metric(0.6), config="paper")), base))
    assert [(entry["dataset"]["config"], [m["value"] for m in entry["metrics"]]) for entry in found] == [
        ("paper", [0.6]),
        ("fold", [0.5]),
        ("paper", [0.1]),
    ]


def test_a_model_that_a_human_renamed_keeps_its_name_and_is_there_once():
    text = merged(
        index(result("tess", metric(0.5)), name="Mine"),
        index(result("tess", metric(0.6))),
        index(result("tess", metric(0.5))),
    )
    (model,) = front_matter(text)["model-index"]
    assert model["name"] == "Mine"
    assert results_of(text) == [result("tess", metric(0.6))]


def test_results_that_are_generated_no_more_go():
    base = index(result("tess", metric(0.5)))
    plain = card(front="license: odbl")
    assert "model-index" not in front_matter(merged(base + "Mine.\n", plain, base))
    mine = result("emodb", metric(0.3))
    assert results_of(merged(index(result("tess", metric(0.5)), mine), plain, base)) == [mine]


def test_a_model_index_in_a_form_of_its_own_stays():
    theirs = card(front="license: odbl\nmodel-index: a table below")
    assert front_matter(merge_card(index(result("tess", metric(0.5))), theirs, None))["model-index"]
