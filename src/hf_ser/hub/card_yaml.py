"""A card's front matter: cut off the text, read as the Hub reads it, and written back key by key."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from hf_ser.errors import InputError

__all__ = ["dump", "key_of", "read_front_matter", "same", "split_card", "write_front_matter"]

_FRONT_MATTER: Final = re.compile(r"\A\s*---[ \t]*\n(.*?)(?:^|\n)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_MOST_NODES: Final = 100_000


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads plain words as the Hub does, by YAML 1.2: `no` is Norwegian, and 12:30 is no number."""


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), list("-+0123456789"))


def split_card(card: str) -> tuple[str | None, str]:
    r"""Return a card's front matter without its rules, None where it has none, and what stands below.

    Lines end in "\n", and there is no byte order mark.

    Example:
        >>> split_card("---\nlicense: mit\n---\n# Title\n")
        ('license: mit', '# Title\n')
        >>> split_card("# Title\n")
        (None, '# Title\n')
    """
    text = re.sub(r"\r\n?", "\n", card.removeprefix("\ufeff"))
    match = _FRONT_MATTER.match(text)
    return (match[1], text[match.end() :]) if match else (None, text)


def read_front_matter(text: str | None) -> dict[str, Any]:
    """Return what a front matter says; nothing where there is none.

    Raises:
        InputError: It is no YAML, or no mapping of names to values.

    Example:
        >>> read_front_matter("language: no")
        {'language': 'no'}
    """
    if text is None:
        return {}
    try:
        found = yaml.load(text, Loader=_Loader)
        nodes = _nodes(found, {})
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        # The first line of the file is the rule above.
        where = f"line {mark.line + 2}: " if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise _unreadable(f"{where}{problem}") from error
    if nodes > _MOST_NODES:
        raise _unreadable("its aliases stand for too much")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _unreadable("it is no mapping of names to values")
    return found


def _unreadable(reason: str) -> InputError:
    return InputError(
        f"the front matter of the repository's README.md cannot be read ({' '.join(reason.split())}), and nothing "
        "was overwritten; mend it there, and push again"
    )


def _nodes(value: Any, known: dict[int, int]) -> int:
    """Count the values of a document with every alias written out, without writing it out."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        within = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_nodes(entry, known) for entry in within)
    return known[id(value)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in kind, too: 1 is not true, and the order of a list counts.

    Example:
        >>> same({"a": 1, "b": 2}, {"b": 2, "a": 1}), same(1, True)
        (True, False)
    """
    return key_of(one) == key_of(other)


def key_of(value: Any) -> str:
    """Return a text that equal values, and no others, share."""
    return json.dumps(_keyed(value), sort_keys=True, default=repr)


def _keyed(value: Any) -> Any:
    if isinstance(value, dict):
        return {repr(key): _keyed(entry) for key, entry in value.items()}
    return [_keyed(entry) for entry in value] if isinstance(value, list) else value


def dump(values: Mapping[str, Any]) -> str:
    r"""Return a mapping as YAML, one key after the other as it has them.

    Example:
        >>> dump({"language": "no", "tags": ["Gefühl"]})
        "language: 'no'\ntags:\n- Gefühl"
    """
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text.rstrip("\n") if values else ""


def write_front_matter(values: Mapping[str, Any], *texts: str | None) -> str:
    r"""Return a front matter in which every key whose value is unchanged is written as it was, comments included.

    Args:
        values: What it is to say, in this order.
        texts: Front matters to take the writing from; the earlier ones before the later ones.

    Example:
        >>> write_front_matter({"license": "mit", "tags": ["a", "b"]}, "license: 'mit'  # theirs\ntags: [a]")
        "license: 'mit'  # theirs\ntags:\n- a\n- b"
    """
    written = [_written(text) for text in texts if text]
    lines = []
    for key, value in values.items():
        known = next((of[key] for of in written if key in of and same(of[key][1], value)), None)
        lines.append(known[0] if known else dump({key: value}))
    text = "\n".join(lines)
    # An anchor or a key in an odd place cannot be cut out alone.
    try:
        if same(read_front_matter(text), dict(values)):
            return text
    except InputError:
        pass
    return dump(values)


def _written(text: str) -> dict[Any, tuple[str, Any]]:
    """Return the lines and the value of every key; nothing where they cannot be told apart."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return {}
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not isinstance(values, dict):
        return {}
    lines = text.split("\n")
    starts = [key.start_mark.line for key, _ in node.value]
    if len(node.value) != len(values) or len({*starts}) != len(starts):
        return {}
    # A comment belongs to the key below it; one below the last key, to that.
    begins = [0]
    for place, start in enumerate(starts[1:], 1):
        while start - 1 > starts[place - 1] and re.match(r"\s*(#|$)", lines[start - 1]):
            start -= 1
        begins.append(start)
    ends = [*begins[1:], len(lines)]
    return {
        key: ("\n".join(lines[begin:end]).rstrip("\n"), value)
        for begin, end, (key, value) in zip(begins, ends, values.items(), strict=True)
    }
