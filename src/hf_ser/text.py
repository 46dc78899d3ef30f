"""Plain text, Markdown and CSV forms that reports, cards and the command line share."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] | None = None) -> str:
    """Return rows of cells as columns of plain text; columns in `right` (default: all but the first) end aligned."""
    columns = range(len(rows[0]))
    right = columns[1:] if right is None else right
    width = [max(len(row[place]) for row in rows) for place in columns]
    lines = ([row[k].rjust(width[k]) if k in right else row[k].ljust(width[k]) for k in columns] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool | Collection[int] = True
) -> str:
    """Return a Markdown table, with pipes and line breaks in its cells neutralised.

    `numbers` says which columns are aligned to the right: all but the first (True), none (False), or their places.

    Example:
        >>> print(markdown_table(("emotion", "clips"), [("calm", "8")]))
        | emotion | clips |
        |---|---:|
        | calm | 8 |
    """
    places = numbers if not isinstance(numbers, bool) else range(1, len(header)) if numbers else ()
    lines = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in (header, *rows)]
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "".join("|---:" if k in places else "|---" for k in range(len(header))) + "|", *body])


def csv_cell(value: object) -> object:
    """Return a CSV cell that a spreadsheet program does not execute as a formula: such texts get a leading quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def percent(fraction: float | None) -> str:
    """Return a fraction in percent without the sign, or a dash for None."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def percent_range(bounds: Sequence[float]) -> str:
    """Return an interval of fractions in percent, such as `50.0 to 75.0`."""
    return f"{percent(bounds[0])} to {percent(bounds[1])}"


def printable(text: str) -> str:
    """Return a text on one line, in which whatever a terminal would act on is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def render(template: str, **values: Any) -> str:
    """Return a template of this package, filled in; a name that it does not get is an error, not a gap."""
    text: str = _templates().get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    own = {"percent": percent, "percent_range": percent_range, "table": markdown_table}
    environment = Environment(
        loader=PackageLoader("hf_ser"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= own
    return environment
