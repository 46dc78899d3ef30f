"""What several tests of the corpora need: every published name, and the real files where they lie."""

from itertools import product
from pathlib import Path

import pytest

from hf_ser.corpora import CORPORA


@pytest.fixture
def shared() -> Path:
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not (folder / "manifest.csv.gz").is_file():
        pytest.skip(f"needs the real corpora in {folder}")
    return folder


@pytest.fixture(scope="session")
def published_names() -> dict[str, list[str]]:
    """The name of every clip of each corpus, built from the corpora's own descriptions."""
    two = ("01", "02")
    ravdess = [
        f"03-01-{emotion:02d}-{intensity}-{statement}-{repetition}-{actor:02d}.wav"
        for actor, emotion, intensity, statement, repetition in product(range(1, 25), range(1, 9), two, two, two)
        if (emotion, intensity) != (1, "02")
    ]
    # Five speakers lack cells: two a neutral clip, three a whole sentence.
    missing = {"1002_TIE_NEU", "1076_ITS_NEU"} | {
        f"{cell}_{emotion}"
        for cell in ("1008_WSI", "1009_MTI", "1019_ITH")
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    }
    crema_d = [
        f"{speaker}_{sentence}_{emotion}_{level}.wav"
        for speaker in range(1001, 1092)
        for sentence in ["DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI"]
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
        for level in (("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",))
        if f"{speaker}_{sentence}_{emotion}" not in missing
    ]
    tess = [
        f"{talker}_{word}_{emotion}.wav"
        for talker in ("OAF", "YAF")
        for word in CORPORA["tess"].sentences
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    ]
    savee = [
        f"{speaker}_{code}{number:02d}.wav"
        for speaker in ("DC", "JE", "JK", "KL")
        for code in ("a", "d", "f", "h", "n", "sa", "su")
        for number in range(1, 31 if code == "n" else 16)
    ]
    return {"ravdess": ravdess, "crema_d": crema_d, "tess": tess, "savee": savee}
