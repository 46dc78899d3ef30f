"""A card as it was generated, a later one, and a merge that checks what holds for every merge."""

import re

from hf_ser.hub.card_merge import merge_card

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
