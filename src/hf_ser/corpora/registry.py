"""The known corpora by name, how to add one, and their licences side by side."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Final

from hf_ser.corpora.clip import Clip, Corpus
from hf_ser.corpora.crema_d import CREMA_D
from hf_ser.corpora.emo_db import EMO_DB
from hf_ser.corpora.ravdess import RAVDESS
from hf_ser.corpora.savee import SAVEE
from hf_ser.corpora.tess import TESS
from hf_ser.errors import InputError
from hf_ser.text import markdown_table

logger = logging.getLogger(__name__)

EIGHT_EMOTIONS_CORPORA: Final = ("ravdess", "crema_d", "tess", "savee")
"""The corpora of the eight-emotions data set."""

ENTRY_POINTS: Final = "hf_ser.corpora"
"""The group of entry points by which a package brings corpora, each a `Corpus`."""


class _Corpora(Mapping[str, Corpus]):
    """The corpora of this library, of installed packages (asked at the first look-up) and of `register_corpus`."""

    def __init__(self, built_in: Iterable[Corpus]) -> None:
        self.added = {corpus.name: corpus for corpus in built_in}
        self._asked = False

    def _all(self) -> dict[str, Corpus]:
        for point in () if self._asked else entry_points(group=ENTRY_POINTS):
            self._asked = True
            try:
                register_corpus(point.load())
            except Exception as error:
                # Somebody else's package must not keep this one from working.
                package, reason = point.dist.name if point.dist else "?", " ".join(str(error).split())
                logger.warning("package %s: corpus '%s' cannot be used (%s)", package, point.name, reason)
        self._asked = True
        return self.added

    def __getitem__(self, name: str) -> Corpus:
        return self.added[name] if name in self.added else self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


_registered = _Corpora((RAVDESS, CREMA_D, TESS, SAVEE, EMO_DB))

CORPORA: Mapping[str, Corpus] = _registered
"""The known corpora by name: the four of the eight-emotions data set, EMO-DB, then those of others."""


def register_corpus(corpus: Corpus) -> None:
    """Add a corpus: its clips are found in folders, `leave_out_NAME` becomes a protocol, cards state its terms.

    A package brings one by an entry point in the group `hf_ser.corpora` that names a `Corpus`.

    Raises:
        InputError: The name is not lower-case letters, digits and underscores, or is in use.

    Example:
        >>> from dataclasses import replace
        >>> register_corpus(replace(CORPORA["savee"], title="Another SAVEE"))
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: corpus 'savee' is registered already; choose another name
    """
    if not isinstance(corpus, Corpus):
        raise InputError(f"a {type(corpus).__name__} is not a corpus; give a hf_ser.corpora.Corpus")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", corpus.name):
        raise InputError(f"corpus name '{corpus.name}' is not usable; use lower-case letters, digits and underscores")
    if _registered.added.setdefault(corpus.name, corpus) is not corpus:
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
