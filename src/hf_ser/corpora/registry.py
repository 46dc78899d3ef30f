"""The known corpora by name, how to add one, and their licences side by side."""

import os
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hf_ser.corpora.clip import Clip, Corpus
from hf_ser.corpora.crema_d import CREMA_D
from hf_ser.corpora.ravdess import RAVDESS
from hf_ser.corpora.savee import SAVEE
from hf_ser.corpora.tess import TESS
from hf_ser.errors import InputError
from hf_ser.text import markdown_table

_registered: dict[str, Corpus] = {corpus.name: corpus for corpus in (RAVDESS, CREMA_D, TESS, SAVEE)}

CORPORA: Mapping[str, Corpus] = MappingProxyType(_registered)
"""The known corpora by name: the four of the eight-emotions data set, then those of `register_corpus`."""


def register_corpus(corpus: Corpus) -> None:
    """Add a corpus: its clips are found in folders, `leave_out_NAME` becomes a protocol, cards state its terms.

    Raises:
        InputError: The name is not lower-case letters, digits and underscores, or is in use.

    Example:
        >>> from dataclasses import replace
        >>> register_corpus(replace(CORPORA["savee"], title="Another SAVEE"))
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: corpus 'savee' is registered already; choose another name
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", corpus.name):
        raise InputError(f"corpus name '{corpus.name}' is not usable; use lower-case letters, digits and underscores")
    if _registered.setdefault(corpus.name, corpus) is not corpus:
        raise InputError(f"corpus '{corpus.name}' is registered already; choose another name")


def parse(path: str | os.PathLike[str]) -> Clip | None:
    """Return the clip that an audio file's name stands for; None if it is not a clip of a known corpus.

    The file name alone decides, in upper or lower case and in any folder; only SAVEE's `DC/a01.wav` needs the name of
    its folder. The file is not opened.

    Example:
        >>> parse("downloads/crema_d/1040_ITH_SAD_X.wav").clip_id
        'crema_d/1040_ITH_SAD_XX'
    """
    return next((clip for corpus in CORPORA.values() if (clip := corpus.parse(path))), None)


def strictest(corpora: Iterable[Corpus]) -> Corpus | None:
    """Return the corpus with the most restrictive licence; None without corpora.

    No published licence counts as the strictest, then one that forbids redistribution, then one that forbids
    commercial use.

    Example:
        >>> strictest(CORPORA[name] for name in ("crema_d", "tess", "ravdess")).licence.id
        'cc-by-nc-nd-4.0'
    """

    def severity(corpus: Corpus) -> tuple[bool, bool, bool]:
        licence = corpus.licence
        return licence.url is None, not licence.redistribution, licence.non_commercial

    return max(corpora, key=severity, default=None)


def licence_table(corpora: Iterable[Corpus]) -> str:
    """Return a Markdown table of the corpora's licences."""
    rows = []
    for corpus in corpora:
        licence = corpus.licence
        terms = f"[{licence.name}]({licence.url})" if licence.url else licence.name
        answers = ("no" if licence.non_commercial else "yes", "yes" if licence.redistribution else "no")
        rows.append((f"[{corpus.short_title}]({corpus.homepage})", terms, *answers))
    return markdown_table(("corpus", "licence", "commercial use", "redistribution of the audio"), rows, numbers=False)
