"""Small corpora, and the data set that they make."""

from pathlib import Path

import pytest

from dataset_files import noise, published_names, write_wav


@pytest.fixture(scope="session")
def small_corpora(tmp_path_factory) -> Path:
    """A folder with RAVDESS, CREMA-D, TESS and SAVEE, one short clip for each speaker and emotion."""
    root = tmp_path_factory.mktemp("corpora")
    for seed, name in enumerate(published_names()):
        write_wav(root / name, noise(seed, 400 + seed % 50))
    return root


@pytest.fixture(scope="session")
def four(small_corpora) -> dict[str, Path]:
    """The arguments of `build_dataset` for all four corpora."""
    return {
        "ravdess": small_corpora / "RAVDESS",
        "crema_d": small_corpora / "CREMA-D",
        "tess": small_corpora / "TESS",
        "savee": small_corpora / "SAVEE",
    }


@pytest.fixture(scope="session")
def built(four, tmp_path_factory) -> Path:
    """The small corpora as a built data set."""
    from hf_ser.dataset.build import build_dataset

    return build_dataset(out=tmp_path_factory.mktemp("built") / "eight_emotions", **four).folder


@pytest.fixture
def savee(tmp_path) -> Path:
    """Four clips, one of each speaker."""
    for seed, speaker in enumerate(("DC", "JE", "JK", "KL")):
        write_wav(tmp_path / f"in/{speaker}/a01.wav", noise(seed))
    return tmp_path / "in"


@pytest.fixture
def outside_corpus():
    """A corpus that is not part of the package, registered for one test: `mycorpus_SPEAKER_SENTENCE_EMOTION.wav`."""
    from hf_ser.corpora import Clip, Corpus, Licence, Speaker, register_corpus, registry

    speakers = {f"mycorpus_{name}": Speaker("female", None) for name in ("anna", "bea", "cleo", "dora", "eva")}

    def read_name(stem, folder):
        if not stem.startswith("mycorpus_") or stem.count("_") != 3:
            return None
        _, name, sentence, emotion = stem.split("_")
        speaker = f"mycorpus_{name}"
        if speaker not in speakers:
            return f"no speaker {name}"
        return Clip("mycorpus", f"mycorpus/{stem[9:]}", speaker, "female", None, emotion, sentence, "normal")

    corpus = Corpus(
        name="mycorpus",
        title="My corpus (MINE)",
        read_name=read_name,
        language="de",
        licence=Licence("cc-by-nc-4.0", "CC BY-NC 4.0", "https://example.org/terms", True, True),
        citation="@misc{mine}",
        homepage="https://example.org",
        speakers=speakers,
        held_out=({"female": 1}, {"female": 1}),
    )
    register_corpus(corpus)
    yield corpus
    del registry._registered.added["mycorpus"]
