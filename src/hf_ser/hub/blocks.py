"""The generated block of a card: a push replaces it and keeps what people wrote around it."""

import re
from collections.abc import Collection
from typing import Any, Final

import yaml
from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

from hf_ser.errors import InputError
from hf_ser.models.recipe import ADAPTERS
from hf_ser.models.recipes import RECIPES

BEGIN: Final = "<!-- hf_ser:begin -->"
END: Final = "<!-- hf_ser:end -->"

_BLOCK: Final = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_FRONT_MATTER: Final = re.compile(r"\A\s*---[ \t]*\n(.*?)(?:^|\n)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LICENCE: Final = {"license_name", "license_link"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads plain words by YAML 1.2, as the Hub does: `no` is Norwegian and 12:30 is not a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z", re.IGNORECASE), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9]\d*)\Z"), list("-+0123456789"))


def combine(card: str, there: str | None, *, owned: Collection[str] = ()) -> str:
    r"""Return a generated card with what people wrote into the card that it replaces (`there`; None if there is none).

    Everything generated stands between `<!-- hf_ser:begin -->` and `<!-- hf_ser:end -->`. The block of the old card
    is replaced, the text around it is kept; an old card without a block is kept below the new one. Keys of the front
    matter that `card` sets are overwritten, except that tags are united; all other keys are kept but those in `owned`.

    Example:
        >>> there = "---\nmine: 1\n---\n<!-- hf_ser:begin -->\nUAR 60\n<!-- hf_ser:end -->\n\nCall me.\n"
        >>> print(combine("UAR 61\n", there).replace("\n\n", "\n"), end="")
        ---
        mine: 1
        ---
        <!-- hf_ser:begin -->
        UAR 61
        <!-- hf_ser:end -->
        Call me.
    """
    front, before, block, after = _split(card)
    if block is None:
        block, after = f"{BEGIN}\n{after.strip()}\n{END}", ""
    old_front, old_before, old_block, old_after = _split(there or "")
    new, old = _read(front), _read(old_front)
    merged = _merge(new, old, owned)
    # Unchanged keys keep the order and the form in which they were generated.
    text = front if merged == new else yaml_dump(merged, sort_keys=False, width=10_000).rstrip("\n")
    kept = old_before + (old_block or "") + old_after
    before = "\n\n".join(part for part in (old_before, before if before not in kept else "") if part)
    after = "\n\n".join(part for part in (old_after, after if after not in kept else "") if part)
    body = "\n\n".join(part for part in (before, block, after) if part)
    return f"---\n{text}\n---\n\n{body}\n" if text else f"{body}\n"


def _split(card: str) -> tuple[str, str, str | None, str]:
    """Return the front matter, the text before the block, the block (None without one), and the text after it."""
    text = re.sub(r"\r\n?", "\n", card.removeprefix("\ufeff"))
    found = _FRONT_MATTER.match(text)
    front, body = (found[1], text[found.end() :]) if found else ("", text)
    block = _BLOCK.search(body)
    if block is None:
        return front, "", None, body.strip("\n")
    return front, body[: block.start()].strip("\n"), block[0], body[block.end() :].strip("\n")


def _read(front: str) -> dict[Any, Any]:
    try:
        values = yaml.load(front, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        # Line 1 of the file is the rule above the front matter.
        where = f"line {mark.line + 2}: " if mark else ""
        raise _unreadable(f"{where}{getattr(error, 'problem', None) or type(error).__name__}") from error
    if values is not None and not isinstance(values, dict):
        raise _unreadable("it is not a mapping of keys to values")
    return values or {}


def _unreadable(reason: str) -> InputError:
    return InputError(f"nothing was pushed: the front matter of README.md cannot be read ({reason}); fix it first")


def _merge(new: dict[Any, Any], old: dict[Any, Any], owned: Collection[str]) -> dict[Any, Any]:
    replaced = {*new, *owned} | (_LICENCE if "license" in new else set())
    merged = {**new, **{key: value for key, value in old.items() if key not in replaced}}
    tags = old.get("tags") or []
    if "tags" in new:
        # What an earlier push said about its own model is not a tag that a person added.
        tags = tags if isinstance(tags, list) else [tags]
        people = [tag for tag in tags if tag not in (*ADAPTERS, *RECIPES) and not str(tag).startswith("base_model:")]
        merged["tags"] = [*new["tags"], *(tag for tag in people if tag not in new["tags"])]
    return merged
