"""What people write into a card is kept by every push; what was generated is replaced."""

import pytest

from hf_ser.errors import InputError
from hf_ser.hub.blocks import BEGIN, END, combine
from hf_ser.hub.front_matter import MODEL_KEYS
from hub_server.cards import validate


def card(uar=60, tags="[emotion, lora_qkv, lora]", more=""):
    return f"---\nlibrary_name: peft\ntags: {tags}\n{more}---\n\n# Model\n\nUAR {uar}\n"


def block(uar):
    return f"{BEGIN}\n# Model\n\nUAR {uar}\n{END}"


def test_a_first_card_is_marked_and_stays_the_same():
    first = combine(card(), None)
    assert first == f"---\nlibrary_name: peft\ntags: [emotion, lora_qkv, lora]\n---\n\n{block(60)}\n"
    assert combine(first, first) == combine(card(), first) == first


def test_the_text_around_the_block_is_kept_and_the_block_is_replaced():
    edited = (
        combine(card(), None).replace(BEGIN, f"Above.\n\n{BEGIN}").replace("UAR 60", "UAR 99, I say") + "\n\nBelow.\n"
    )
    merged = combine(card(61), edited)
    assert merged.partition("---\n\n")[2] == f"Above.\n\n{block(61)}\n\nBelow.\n"
    assert combine(card(61), merged) == merged


@pytest.mark.parametrize(
    "old", ["# By hand\n\nWords.\n", "---\nmine: 1\n---\n# By hand\n\nWords.\n", "\ufeff# By hand\r\n\r\nWords.\r\n"]
)
def test_a_card_without_a_block_is_kept_below_the_new_one_once(old):
    merged = combine(card(), old)
    assert merged.endswith(f"{block(60)}\n\n# By hand\n\nWords.\n")
    again = combine(card(61), merged)
    assert again.count("# By hand") == 1
    assert again.endswith(f"{block(61)}\n\n# By hand\n\nWords.\n")


def test_text_around_the_local_block_is_added_once():
    local = combine(card(), None) + "\nMine.\n"
    there = combine(card(), None) + "\nTheirs.\n"
    merged = combine(local, there)
    assert merged.endswith(f"{END}\n\nTheirs.\n\nMine.\n")
    assert combine(local, merged) == merged


@pytest.mark.parametrize("empty", ["", "\n", "---\n---\n", f"{BEGIN}\n{END}\n"])
def test_an_empty_card_adds_nothing(empty):
    assert combine(card(), empty) == combine(card(), None)


def test_a_damaged_mark_loses_no_word():
    broken = combine(card(), None).replace(END, "") + "\nBelow.\n"
    merged = combine(card(61), broken)
    assert "Below." in merged
    assert merged.count("UAR 61") == 1
    assert "Below." in combine(card(62), merged)


def test_front_matter_keeps_other_keys_and_unites_tags():
    there = (
        "---\nlicense: mit\nlicense_name: mine\nlanguage: no\nwidget:\n- src: a.wav\nat: 12:30\n"
        "tags: [mine, lora, 'base_model:adapter:x/y', lora_classifier, emotion]\n---\nText\n"
    )
    front = combine(card(more="license: other\n"), there).split("---\n")[1]
    assert front == (
        "library_name: peft\ntags:\n- emotion\n- lora_qkv\n- lora\n- mine\nlicense: other\nlanguage: 'no'\n"
        "widget:\n- src: a.wav\nat: '12:30'\n"
    )
    assert "license: mit\n" in combine(card(), there)
    # A single tag stands for a list of one.
    assert "- mine\n" in combine(card(), "---\ntags: mine\n---\n")


def test_keys_of_an_earlier_push_are_removed():
    there = "---\nmodel-index: []\nbase_model: a/b\nmine: 1\n---\n"
    front = combine(card(), there, owned=MODEL_KEYS).split("---\n")[1]
    assert "mine: 1" in front
    assert "model-index" not in front
    assert "base_model" not in front


def test_the_merged_card_is_valid_on_the_hub():
    there = "---\nlicense: mit\nlanguage: no\n---\nText\n"
    assert validate(combine("---\npipeline_tag: audio-classification\n---\n# M\n", there), "model") == ([], [])


@pytest.mark.parametrize(
    ("front", "words"),
    [("a: [1", "line 2: "), ("- a", "not a mapping"), ("a: !!python/object:os.x {}", "line 2: "), ("{" * 5000, "")],
)
def test_front_matter_that_cannot_be_read_is_one_line(front, words):
    with pytest.raises(InputError, match=r"the front matter of README\.md cannot be read") as error:
        combine(card(), f"---\n{front}\n---\nText\n")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
