"""The corpora's terms side by side, as the cards of data sets and models show them."""

from collections.abc import Iterable

from hf_ser.corpora.clip import Corpus
from hf_ser.text import markdown_table

__all__ = ["licence_table"]


def licence_table(corpora: Iterable[Corpus]) -> str:
    """Return a Markdown table of the corpora's terms.

    Example:
        >>> from hf_ser.corpora import CORPORA
        >>> print(licence_table([CORPORA["crema_d"]]).splitlines()[0])
        | corpus | terms, as its source states them | commercial use | passing the audio on |
    """
    rows = []
    for corpus in corpora:
        licence = corpus.licence
        rows.append(
            (
                f"[{corpus.short_title}]({corpus.homepage})",
                f"[{licence.name}]({licence.url})" if licence.url else licence.name,
                "no" if licence.non_commercial else "yes",
                "yes" if licence.redistribution else "no",
            )
        )
    header = ("corpus", "terms, as its source states them", "commercial use", "passing the audio on")
    return markdown_table(header, rows, numbers=False)
