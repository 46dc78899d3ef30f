"""The corpora whose files are known by their names, and corpora that others register."""

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker
from hf_ser.corpora.registry import CORPORA, EIGHT_EMOTIONS_CORPORA, licence_table, parse, register_corpus, strictest
from hf_ser.corpora.walk import Discovery, discover

__all__ = [
    "CORPORA",
    "EIGHT_EMOTIONS_CORPORA",
    "Clip",
    "Corpus",
    "Discovery",
    "Licence",
    "Speaker",
    "discover",
    "licence_table",
    "parse",
    "register_corpus",
    "strictest",
]
