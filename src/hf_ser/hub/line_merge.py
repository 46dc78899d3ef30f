"""A human's edits of a generated text, carried over to the text as it is generated now."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher

__all__ = ["matching_blocks", "merge_lines"]

_HUMAN, _GENERATED = 0, 1
_MARKS = ("|", ">", "-")


@dataclass(frozen=True, slots=True, order=True)
class _Change:
    """Lines `[start, end)` of the base that one side replaces by its own lines `[first, last)`."""

    start: int
    end: int
    side: int
    first: int
    last: int


def merge_lines(ours: Sequence[str], theirs: Sequence[str], base: Sequence[str]) -> list[str]:
    """Merge what a human made of `base` with what is generated in its place now.

    A place that one side changed is as that side has it. Where both changed the same lines, the human's come first
    and the generated ones after them. Generated lines that a human deleted and that changed since come back, with
    the head of their table or code block; those of a section that was deleted with its heading do not.

    Args:
        ours: Lines as generated now.
        theirs: Lines as they lie there.
        base: Lines as generated when `theirs` was last written.

    Example:
        >>> merge_lines(["# Title", "UAR 61"], ["# Title", "My note", "UAR 60"], ["# Title", "UAR 60"])
        ['# Title', 'My note', 'UAR 61']
        >>> merge_lines(["UAR 61"], ["UAR 60, and I doubt it"], ["UAR 60"])
        ['UAR 60, and I doubt it', '', 'UAR 61']
    """
    texts = {_HUMAN: theirs, _GENERATED: ours}
    changes = sorted([*_changes(base, theirs, _HUMAN), *_line_by_line(_changes(base, ours, _GENERATED))])
    merged: list[str] = []
    position = 0
    for group in _groups(changes, ours, base):
        start, end = group[0].start, max(change.end for change in group)
        merged += base[position:start]
        position = end
        human = [line for change in group if change.side == _HUMAN for line in theirs[change.first : change.last]]
        if len({change.side for change in group}) == 1:
            merged += [line for change in group for line in texts[change.side][change.first : change.last]]
            continue
        _append(merged, human, _generated(group, ours, base, human))
    return merged + list(base[position:])


def _changes(base: Sequence[str], text: Sequence[str], side: int) -> list[_Change]:
    found, start, first = [], 0, 0
    for block in [*matching_blocks(base, text), Match(len(base), len(text), 0)]:
        if block.a > start or block.b > first:
            found.append(_Change(start, block.a, side, first, block.b))
        start, first = block.a + block.size, block.b + block.size
    return found


def matching_blocks(base: Sequence[str], text: Sequence[str]) -> list[Match]:
    """Return the runs of lines that two texts share, in order.

    Lines that are there once decide what belongs together, and only between them, blank lines and code fences do:
    else these, being alike all over a card, pair up what has nothing in common.

    Example:
        >>> matching_blocks(["a", "", "b"], ["", "b"])
        [Match(a=1, b=0, size=2)]
    """
    often, often_in_text = Counter(base), Counter(text)

    def is_common(line: str) -> bool:
        return often[line] != 1 or often_in_text[line] != 1 or not line.strip()

    found, start, first = [], 0, 0
    for block in SequenceMatcher(is_common, base, text, autojunk=False).get_matching_blocks():
        between = SequenceMatcher(None, base[start : block.a], text[first : block.b], autojunk=False)
        found += [Match(start + at.a, first + at.b, at.size) for at in between.get_matching_blocks()]
        found.append(block)
        start, first = block.a + block.size, block.b + block.size
    return [block for block in found if block.size]


def _line_by_line(changes: Sequence[_Change]) -> list[_Change]:
    """Take as many lines for as many others one by one: a table's rows are edited each for itself."""
    found = []
    for change in changes:
        if change.end - change.start == change.last - change.first:
            found += [
                _Change(start, start + 1, change.side, first, first + 1)
                for start, first in zip(range(change.start, change.end), range(change.first, change.last), strict=True)
            ]
        else:
            found.append(change)
    return found


def _groups(changes: Sequence[_Change], ours: Sequence[str], base: Sequence[str]) -> list[list[_Change]]:
    """Put changes of both sides together that touch the same lines of the base."""
    groups: list[list[_Change]] = []
    end = 0
    for change in changes:
        if groups and _touches(change, groups[-1], end, ours, base):
            groups[-1].append(change)
        else:
            groups.append([change])
            end = change.start
        end = max(end, change.end)
    return groups


def _touches(change: _Change, group: list[_Change], end: int, ours: Sequence[str], base: Sequence[str]) -> bool:
    if change.start < end:
        return True
    if change.start > end:
        return False
    if change.end == end and group[0].start == end:
        # Two insertions at one place.
        return True
    # Lines added right below deleted ones belong to what was deleted, and rows below a changed row to its table.
    if change.side == _HUMAN or change.start != change.end:
        return False
    above, below = base[end - 1], ours[change.first]
    above_is_changed = any(other.side == _HUMAN and other.start < other.end == end for other in group)
    above_is_deleted = any(other.side == _HUMAN and other.end == end and other.first == other.last for other in group)
    return bool(above.strip() and below.strip()) and (
        above_is_deleted or (above_is_changed and _kind(above) == _kind(below))
    )


def _generated(group: list[_Change], ours: Sequence[str], base: Sequence[str], human: Sequence[str]) -> list[str]:
    """Return the generated lines that a place changed by both sides keeps."""
    deleted = [(change.start, change.end) for change in group if change.side == _HUMAN]
    kept: set[int] = set()
    origin = _origins(base, ours)
    for change in group:
        if change.side == _HUMAN or (not any(human) and _section_is_gone(change, deleted, base)):
            continue
        kept |= set(range(change.first, change.last))
        for line in range(change.first, change.last):
            block = _block(ours, line)
            head = origin.get(block[0]) if block else None
            if block and head is not None and any(start <= head < end for start, end in deleted):
                kept |= {
                    other
                    for other in range(*block)
                    if other in origin and any(start <= origin[other] < end for start, end in deleted)
                }
    return [ours[line] for line in sorted(kept)]


def _origins(base: Sequence[str], text: Sequence[str]) -> dict[int, int]:
    """Return the place in the base of every line that is unchanged."""
    blocks = matching_blocks(base, text)
    return {block.b + step: block.a + step for block in blocks for step in range(block.size)}


def _fenced(lines: Sequence[str]) -> list[bool]:
    """Tell for each line whether it belongs to a fenced block of code, its fences included."""
    found, inside = [], False
    for line in lines:
        fence = line.lstrip().startswith("```")
        found.append(inside or fence)
        inside ^= fence
    return found


def _block(lines: Sequence[str], place: int) -> tuple[int, int] | None:
    """Return the bounds of the table or the fenced block that a line is in; None for any other line."""
    fenced = _fenced(lines)
    if fenced[place]:
        fences = [line for line in range(len(lines)) if lines[line].lstrip().startswith("```")]
        for opening, closing in zip(fences[::2], [*fences[1::2], len(lines) - 1], strict=False):
            if opening <= place <= closing:
                return opening, closing + 1
    if not lines[place].startswith("|"):
        return None
    start, end = place, place + 1
    while start and lines[start - 1].startswith("|"):
        start -= 1
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return start, end


def _section_is_gone(change: _Change, deleted: Sequence[tuple[int, int]], base: Sequence[str]) -> bool:
    """Tell whether the human deleted all of the section that a change is in, heading included."""
    place = change.start - (change.start == change.end)
    headings = [line for line, fenced in enumerate(_fenced(base)) if not fenced and base[line].startswith("#")]
    start = max((line for line in headings if line <= place), default=None)
    if start is None:
        return False
    end = min((line for line in headings if line > place), default=len(base))
    while end > start and not base[end - 1].strip():
        end -= 1
    return any(first <= start and end <= last for first, last in deleted)


def _append(merged: list[str], human: Sequence[str], generated: Sequence[str]) -> None:
    """Append the human's lines and the generated ones after them, as blocks of their own."""
    wanted = len(generated)
    if not wanted or any(list(human[at : at + wanted]) == list(generated) for at in range(len(human))):
        merged += human
        return
    # A row that goes on with a table stays in it, whatever a human wrote below that table.
    kind, head, rows = _kind(generated[0]), 0, 0
    if kind in _MARKS:
        head = next((at for at, line in enumerate(human) if _kind(line) != kind), len(human))
        above = human[head - 1] if head else merged[-1] if merged else ""
        if _kind(above) == kind:
            rows = next((at for at, line in enumerate(generated) if _kind(line) != kind), wanted)
    merged += [*human[:head], *generated[:rows], *human[head:]]
    rest = generated[rows:]
    above = merged[-1] if merged else ""
    inside = bool(merged) and _fenced([*merged, ""])[-1]
    if human and rest and not inside and above.strip() and rest[0].strip() and _kind(above) != _kind(rest[0]):
        merged.append("")
    merged += rest


def _kind(line: str) -> str:
    """Return what kind of block a line goes on with; prose is of no kind that the next line could share."""
    mark = line.lstrip()[:1]
    return mark if mark in _MARKS else line
