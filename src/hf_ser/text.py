"""Forms of text that reports, cards and the command line share; standard library only."""

from collections.abc import Collection, Iterable, Sequence

__all__ = ["aligned", "markdown_table", "percent", "percent_range"]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] | None = None) -> str:
    """Return rows of cells as plain text in columns.

    Args:
        rows: All of the same number of cells.
        right: Places of the columns that are aligned to the right; None for all but the first.

    Example:
        >>> print(aligned([["layer", "parameters"], ["projector", "262,400"]]))
        layer      parameters
        projector     262,400
    """
    right = range(1, len(rows[0])) if right is None else right
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool | Collection[int] = True
) -> str:
    """Return a Markdown table.

    Args:
        header: Titles of the columns.
        rows: Cells; a pipe or a line break in one cannot break the table.
        numbers: Whether all columns but the first are aligned to the right, or the places of those that are.

    Example:
        >>> print(markdown_table(("emotion", "clips"), [("calm", "8")]))
        | emotion | clips |
        |---|---:|
        | calm | 8 |
    """
    lines = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in (header, *rows)]
    if isinstance(numbers, bool):
        numbers = range(1, len(header)) if numbers else ()
    rule = "".join("|---:" if place in numbers else "|---" for place in range(len(header))) + "|"
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, rule, *body])


def percent(fraction: float | None) -> str:
    """Return a fraction in percent without its sign, or a dash for none.

    Example:
        >>> percent(0.125), percent(None)
        ('12.5', '–')
    """
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def percent_range(bounds: Sequence[float]) -> str:
    """Return an interval of fractions in percent.

    Example:
        >>> percent_range([0.5, 0.75])
        '50.0 to 75.0'
    """
    return f"{percent(bounds[0])} to {percent(bounds[1])}"
