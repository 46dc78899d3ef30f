"""A human's edits of a card's text survive, and so does every figure that is generated."""

import random

import pytest
from card_checks import example_records
from merging import BODY, FRONT, NEW, OLD, card, edited, merged

from hf_ser.hub.card import render_model_card
from hf_ser.hub.card_merge import merge_card
from hf_ser.hub.front_matter import OWNED
from hub_server.cards import front_matter, validate


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


def test_a_new_row_stays_in_its_table_above_what_a_human_wrote_below_it():
    ours = edited(("| savee | 50.0 |", "| savee | 50.0 |\n| ravdess | 40.0 |"))
    text = merged(edited(("| savee | 50.0 |", "| savee | 50.0 |\n\nMine.")), ours)
    assert "| savee | 50.0 |\n| ravdess | 40.0 |\n\nMine.\n\n## Machine" in text


def test_a_new_row_stays_in_its_table_below_a_row_that_a_human_changed():
    ours = edited(("| savee | 50.0 |", "| savee | 50.0 |\n| ravdess | 40.0 |"))
    text = merged(edited(("| savee | 50.0 |", "| savee | 50.0 (!) |\n\nMine.")), ours)
    assert "| savee | 50.0 (!) |\n| ravdess | 40.0 |\n\nMine.\n\n## Machine" in text


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


def test_an_adapter_is_one_whatever_another_tools_card_says():
    run, metrics = example_records("lora_qkv")
    ours = render_model_card(run, metrics, repo_id="me/ser")
    data = front_matter(merged(TRAINERS, ours, None, owned=OWNED))
    assert (data["library_name"], data["base_model_relation"]) == ("peft", "adapter")
    assert data["license"] == "apache-2.0"
    assert [model["name"] for model in data["model-index"]] == ["ser"]


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


def test_real_cards_over_real_pushes():
    rng = random.Random(5)
    run, metrics = example_records("lora_qkv")
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
