"""The four corpora of the eight-emotions data set, and corpora that a user registers."""

from hf_ser.corpora.clip import Clip, Corpus, Licence, Speaker
from hf_ser.corpora.registry import CORPORA, licence_table, parse, register_corpus, strictest
from hf_ser.corpora.walk import Discovery, discover

__all__ = [
    "CORPORA",
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
