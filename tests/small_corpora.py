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
