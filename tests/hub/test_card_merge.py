"""A human's edits of a card survive, and so does every figure that is generated."""

import random
import re

import pytest
import yaml
from golden import read_records

from hf_ser.errors import InputError
from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import merge_card
from hf_ser.hub.line_merge import merge_lines
from hub_server.cards import front_matter, validate

FRONT = "language: en\nlicense: odbl\ntags:\n- emotion\n- hf_ser"
BODY = """\

# Model

Fine-tuned. **UAR 60.0 %** on 10 clips.

## Use

```python
classify = load("me/ser")
```

## Results

| corpus | UAR |
|---|---:|
| tess | 60.0 |
| savee | 50.0 |

## Machine

| fact | value |
|---|---|
| seconds | 10 |
| versions | torch 2 |
"""


def card(body: str = BODY, front: str | None = FRONT) -> str:
    return body if front is None else f"---\n{front}\n---\n{body}"


OLD = card()
NEW_BODY = BODY.replace("60.0", "71.5").replace("| seconds | 10 |", "| seconds | 12 |")
NEW = card(NEW_BODY)


def edited(*changes: tuple[str, str], text: str = OLD) -> str:
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


def merged(theirs: str, ours: str = NEW, base: str | None = OLD, **options) -> str:
    """Merge, and check what holds for every merge."""
    text = merge_card(ours, theirs, base, **options)
    assert merge_card(ours, text, ours, **options) == text, "the next push changes the card again"
    assert not re.search(r"^(<<<<<<<|>>>>>>>|=======)", text, re.M)
    return text


# --- text ---


def test_without_a_card_or_an_edit_the_card_is_the_generated_one():
    for theirs in (None, "", "\n \n", "\ufeff", OLD):
        assert merge_card(NEW, theirs, OLD) == NEW
    assert merge_card(NEW, None, None) == NEW


NOTE = "## My notes\n\nListen first.\n\n- one\n- two\n\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([("## Use", NOTE + "## Use")], [("## Use", NOTE + "## Use")], id="a section in between"),
        pytest.param(
            [("torch 2 |\n", "torch 2 |\n\nEnd.\n")], [("torch 2 |\n", "torch 2 |\n\nEnd.\n")], id="at the end"
        ),
        pytest.param([("# Model", "Top.\n\n# Model")], [("# Model", "Top.\n\n# Model")], id="above the title"),
        pytest.param([("torch 2", "torch 2 (mine)")], [("torch 2", "torch 2 (mine)")], id="a row that stays"),
        pytest.param(
            [('```python\nclassify = load("me/ser")\n```\n\n', "")],
            [('```python\nclassify = load("me/ser")\n```\n\n', "")],
            id="a snippet deleted",
        ),
        pytest.param(
            [("Fine-tuned. **UAR 60.0 %** on 10 clips.", "Fine-tuned by me. **UAR 60.0 %** on 10 clips.")],
            [
                (
                    "Fine-tuned. **UAR 71.5 %** on 10 clips.",
                    "Fine-tuned by me. **UAR 60.0 %** on 10 clips.\n\nFine-tuned. **UAR 71.5 %** on 10 clips.",
                )
            ],
            id="a sentence that changed since",
        ),
        pytest.param(
            [("| tess | 60.0 |", "| tess | 60.0 (two talkers) |")],
            [("| tess | 71.5 |", "| tess | 60.0 (two talkers) |\n| tess | 71.5 |")],
            id="a row that changed since",
        ),
        pytest.param(
            [("| tess | 60.0 |", "| tess | 60.0 |\n| mine | 10.0 |")],
            [("| tess | 71.5 |", "| tess | 71.5 |\n| mine | 10.0 |")],
            id="a row below one that changed since",
        ),
        pytest.param([("| seconds | 10 |\n", "")], [], id="a row deleted that changed since"),
        pytest.param(
            [("| corpus | UAR |\n|---|---:|\n| tess | 60.0 |\n| savee | 50.0 |\n", "")],
            [],
            id="a table deleted that changed since",
        ),
        pytest.param(
            [("\n## Machine\n\n| fact | value |\n|---|---|\n| seconds | 10 |\n| versions | torch 2 |\n", "")],
            [("\n## Machine\n\n| fact | value |\n|---|---|\n| seconds | 12 |\n| versions | torch 2 |\n", "")],
            id="a section deleted whole",
        ),
        pytest.param([("60.0", "71.5")], [], id="the same change on both sides"),
        pytest.param(
            [("on 10 clips.", "on 10 clips.\n\nNaïve: 情感 🎵.")],
            [("on 10 clips.", "on 10 clips.\n\nNaïve: 情感 🎵.")],
            id="any script",
        ),
        pytest.param(
            [("# Model", "x\u2028y\x0c\n\n# Model")], [("# Model", "x\u2028y\x0c\n\n# Model")], id="odd breaks"
        ),
    ],
)
def test_a_humans_edit_stays(changes, expected):
    assert merged(edited(*changes)) == edited(*expected, text=NEW)


def test_edits_stay_over_many_pushes_without_growing():
    theirs, base = edited(("UAR 60.0 %", "UAR (mine) 60.0 %"), ("## Use", NOTE + "## Use")), OLD
    for uar in ("61.0", "62.0", "63.0", "64.0"):
        ours = card(BODY.replace("60.0", uar))
        theirs, base = merged(theirs, ours, base), ours
        assert theirs.count("(mine)") == theirs.count("## My notes") == 1
        assert theirs.count(f"UAR {uar} %") == 1
    assert "61.0" not in theirs
    assert "63.0" not in theirs


def test_a_new_row_comes_below_a_row_that_a_human_added():
    ours = edited(("| savee | 50.0 |", "| savee | 50.0 |\n| ravdess | 40.0 |"))
    text = merged(edited(("| savee | 50.0 |", "| savee | 50.0 |\n| mine | 10.0 |")), ours)
    assert "| savee | 50.0 |\n| mine | 10.0 |\n| ravdess | 40.0 |\n" in text


def test_a_row_added_to_a_section_that_was_deleted_goes_with_it():
    ours = edited(("| versions | torch 2 |\n", "| versions | torch 2 |\n| memory | 1 GiB |\n"))
    theirs = OLD.partition("\n## Machine")[0]
    text = merged(theirs, ours)
    assert "memory" not in text
    assert "| savee | 50.0 |" in text


def test_line_ends_are_those_of_the_human_and_a_byte_order_mark_goes():
    theirs = "\ufeff" + edited(("## Use", NOTE + "## Use")).replace("\n", "\r\n")
    text = merged(theirs)
    assert text == edited(("## Use", NOTE + "## Use"), text=NEW).replace("\n", "\r\n")
    assert validate(text, "model") == ([], [])


TRAINERS = """\
---
library_name: transformers
license: apache-2.0
base_model: facebook/hubert-base-ls960
tags:
- generated_from_trainer
model-index:
- name: ser
  results: []
---

<!-- This model card has been generated automatically. -->

# ser

### Training results
"""


def test_a_card_of_another_tool_stays_first_and_once():
    text = merged(TRAINERS, OLD, None)
    body = text.split("---\n", 2)[2]
    assert body == TRAINERS.split("---\n", 2)[2].rstrip("\n") + "\n\n" + BODY.lstrip("\n")
    data = front_matter(text)
    assert data["tags"] == ["generated_from_trainer", "emotion", "hf_ser"]
    assert (data["license"], data["language"]) == ("apache-2.0", "en")
    assert list(data)[:4] == ["language", "library_name", "license", "base_model"]
    again = merged(text, NEW, OLD)
    assert again == text.replace("60.0", "71.5").replace("| seconds | 10 |", "| seconds | 12 |")


def test_a_card_of_ours_whose_base_was_deleted_is_not_there_twice():
    text = merged(edited(("## Use", NOTE + "## Use")), NEW, None)
    assert text.count("## Results") == text.count("## My notes") == 1
    assert "**UAR 71.5 %**" in text


def test_a_card_without_front_matter_gets_it():
    for theirs in (card(front=None), card(front=""), "\n\nHello.\n"):
        text = merged(theirs)
        assert text.startswith(f"---\n{FRONT}\n---\n")
    assert "Hello." in text


def test_a_rule_at_the_top_is_text_where_no_second_one_follows():
    text = merged("---\nHello.\n", OLD, None)
    assert text.startswith(f"---\n{FRONT}\n---\n---\nHello.\n\n# Model")


def test_deleting_everything_is_heeded_but_for_the_front_matter():
    assert merged(card("\n"), OLD) == card("\n")


# --- front matter ---


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


# --- everything at once, by chance ---


def test_random_edits_are_never_lost_and_never_there_twice():
    rng = random.Random(4)
    for _ in range(40):
        base = [f"line {n}" if rng.random() < 0.7 else "" for n in range(rng.randint(0, 30))]
        theirs, generated = list(base), list(base)
        marks = 0
        for push in range(6):
            theirs, marks = _human(rng, theirs, marks)
            ours = _generator(rng, generated, push)
            human = [line for line in theirs if line.startswith("human")]
            merged_lines = merge_lines(ours, theirs, generated)
            assert [line for line in merged_lines if line.startswith("human")] == human
            assert merge_lines(ours, merged_lines, ours) == merged_lines
            new = [line for line in ours if line.startswith(f"push {push}")]
            assert [line for line in merged_lines if line.startswith(f"push {push}")] == new
            stale = {line for line in generated if line} - set(ours)
            assert not stale & set(merged_lines)
            deleted = {line for line in generated if line} - set(theirs)
            assert not deleted & set(merged_lines)
            theirs, generated = merged_lines, ours


def _human(rng: random.Random, lines: list[str], marks: int) -> tuple[list[str], int]:
    lines = list(lines)
    for _ in range(rng.randint(0, 4)):
        at = rng.randint(0, len(lines))
        action = rng.choice(("add", "add", "change", "delete"))
        if action == "add" or at == len(lines):
            lines.insert(at, f"human {marks}")
            marks += 1
        elif not lines[at].startswith("human"):
            lines[at : at + 1] = [f"human {marks}"] if action == "change" else []
            marks += 1
    return lines, marks


def _generator(rng: random.Random, lines: list[str], push: int) -> list[str]:
    lines = list(lines)
    for number in range(rng.randint(0, 5)):
        at = rng.randint(0, len(lines))
        if rng.random() < 0.4 or at == len(lines):
            lines.insert(at, f"push {push} {number}")
        else:
            lines[at : at + 1] = [f"push {push} {number}"] if rng.random() < 0.7 else []
    return lines


def test_real_cards_over_real_pushes():
    rng = random.Random(5)
    run, metrics = read_records("lora_qkv")
    base = theirs = render_model_card(run, metrics, repo_id="me/ser")
    notes = []
    for push in range(4):
        lines = theirs.split("\n")
        at = rng.randrange(lines.index("---", 1) + 1, len(lines))
        notes.append(f"Human note {push}.")
        lines.insert(at, notes[-1])
        theirs = "\n".join(lines)
        metrics["test"]["pooled"]["uar"] = rng.random()
        run["seconds"]["training"] = rng.random() * 1000
        run["recipe"]["lora"]["r"] = push + 1
        ours = render_model_card(run, metrics, repo_id="me/ser")
        theirs, base = merged(theirs, ours, base), ours
        assert all(theirs.count(note) == 1 for note in notes)
        assert f"**UAR {100 * metrics['test']['pooled']['uar']:.1f} %**" in theirs
        assert validate(theirs, "model") == ([], [])
        without = [line for line in theirs.split("\n") if line not in notes]
        assert without == ours.split("\n")
