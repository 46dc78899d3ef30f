"""Download the public corpora with pooch: RAVDESS from Zenodo, TESS from Borealis, CREMA-D from GitHub.

Every file is verified against its source's digest. Tested against a loopback server only, not against the services.
"""

import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from hf_ser.corpora import CORPORA
from hf_ser.errors import InputError

# The files to take from the archives that have a DOI.
_ARCHIVES: Final = {"ravdess": r"Audio_Speech_Actors_01-24\.zip", "tess": r"[^/\\]+\.(wav|zip)"}

DOWNLOADABLE: Final = (*_ARCHIVES, "crema_d")
"""The corpora that can be downloaded without an account."""

_CREMA_D: Final = "CheyneyComputerScience/CREMA-D"
_VOTES: Final = "processedResults/tabulatedVotes.csv"
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid (sha256:[0-9a-f]{64})\nsize \d+\n")
_TIMEOUT_SECONDS: Final = 60


def download_corpus(corpus: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Download a corpus (`ravdess`, `tess` or `crema_d`) and verify every file; return its folder or zip file.

    Complete files of an earlier attempt are kept, in `folder` or in `hf_ser` in the user's cache folder.
    """
    if corpus not in DOWNLOADABLE:
        way = f"ask for it at {CORPORA[corpus].homepage}" if corpus in CORPORA else f"choose {', '.join(DOWNLOADABLE)}"
        raise InputError(f"{corpus} has no public download; {way}")
    import pooch

    pooch.get_logger().setLevel("WARNING")
    target = Path(folder or pooch.os_cache("hf_ser")) / corpus
    keeper = pooch.create(path=target, base_url="", retry_if_failed=5)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _list_archive(corpus, keeper) if corpus in _ARCHIVES else _list_crema_d(keeper)
        names = _fetch(keeper)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(
            f"{corpus} could not be downloaded to {target} ({reason}); run the command again, which keeps complete "
            f"files, or download it yourself from {CORPORA[corpus].homepage} and give its folder"
        ) from error
    return target / names[0] if len(names) == 1 and names[0].endswith(".zip") else target


def _list_archive(corpus: str, keeper: Any) -> None:
    """Enter the recordings of an archive that has a DOI."""
    from pooch.downloaders import doi_to_repository

    # Once, instead of for each of 2,800 files as pooch does where the base URL is a DOI.
    repository = doi_to_repository(CORPORA[corpus].doi, timeout=_TIMEOUT_SECONDS)
    repository.populate_registry(keeper)
    for name in list(keeper.registry):
        if re.fullmatch(_ARCHIVES[corpus], name):
            keeper.urls[name] = repository.download_url(name)
        else:
            del keeper.registry[name]


def _list_crema_d(keeper: Any) -> None:
    """Enter the recordings on GitHub: the repository's zip file has their digests, and the table of votes."""
    import pooch

    url = f"https://github.com/{_CREMA_D}/archive/refs/heads/master.zip"
    archive = Path(pooch.retrieve(url, known_hash=None, fname="CREMA-D-master.zip", path=keeper.path))
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.namelist():
                name = member.partition("/")[2]
                if name == _VOTES:
                    votes = Path(keeper.path) / _VOTES
                    votes.parent.mkdir(exist_ok=True)
                    votes.write_bytes(opened.read(member))
                elif re.fullmatch(r"AudioWAV/\w+\.wav", name) and (found := _POINTER.fullmatch(opened.read(member))):
                    keeper.registry[name] = found[1].decode()
                    keeper.urls[name] = f"https://media.githubusercontent.com/media/{_CREMA_D}/master/{name}"
    finally:
        archive.unlink()


def _fetch(keeper: Any) -> list[str]:
    """Download the files of a registry that are missing, verify all of them, and return their names."""
    import pooch

    names = sorted(keeper.registry)
    if not names:
        raise ValueError("the source lists no recordings")
    (Path(keeper.path) / names[0]).parent.mkdir(exist_ok=True)
    downloader = pooch.HTTPDownloader(progressbar=len(names) == 1, chunk_size=1 << 16, timeout=_TIMEOUT_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        fetched = pool.map(lambda name: keeper.fetch(name, downloader=downloader), names)
        list(tqdm(fetched, desc="Downloading", total=len(names), unit="file", disable=None))
    return names
