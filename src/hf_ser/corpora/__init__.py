"""The four corpora of the eight-emotions data set: their file names and what is published of them."""

from hf_ser.corpora.clip import Clip, Corpus, Speaker
from hf_ser.corpora.registry import CORPORA, parse
from hf_ser.corpora.walk import Discovery, discover

__all__ = ["CORPORA", "Clip", "Corpus", "Discovery", "Speaker", "discover", "parse"]
