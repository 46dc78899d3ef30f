"""Fetching the corpora that lie in public: RAVDESS from Zenodo, TESS from Borealis, CREMA-D from GitHub.

Each source says what its files are (MD5 in the two archives, SHA-256 in Git LFS); every file is verified against
that, and the build compares it with the list of the published files besides. The addresses and the shape of the
answers are those of the services' documentation; they were tried against a server on loopback only.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from hf_ser.corpora import CORPORA
from hf_ser.dataset.transfer import RemoteFile, fetch, request_json
from hf_ser.errors import InputError

__all__ = ["DOWNLOADABLE", "default_folder", "download_corpus"]

_HOSTS: Final[Mapping[str, str]] = {
    "ravdess": "https://zenodo.org",
    "tess": "https://borealisdata.ca",
    "crema_d": "https://github.com",
}

DOWNLOADABLE: Final[tuple[str, ...]] = tuple(_HOSTS)
"""The corpora that can be fetched without an account."""

_ARCHIVE: Final = "Audio_Speech_Actors_01-24.zip"
_REPOSITORY: Final = "CheyneyComputerScience/CREMA-D"
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
_LFS_JSON: Final = "application/vnd.git-lfs+json"
_LFS_BATCH: Final = 100


def default_folder() -> Path:
    """Return where downloads are kept: `hf_ser` in the user's cache folder.

    Example:
        >>> default_folder().name
        'hf_ser'
    """
    import pooch

    return Path(pooch.os_cache("hf_ser"))


def download_corpus(corpus: str, folder: str | os.PathLike[str] | None = None, *, base_url: str | None = None) -> Path:
    """Fetch a corpus, go on where an earlier attempt stopped, and verify every file.

    Args:
        corpus: `ravdess`, `tess` or `crema_d`.
        folder: Where downloads are kept; None takes `default_folder()`.
        base_url: Another host with the same interface, such as a mirror.

    Returns:
        What `build_dataset` takes for the corpus: a folder or a zip file.

    Raises:
        InputError: The corpus has no public download, a server refuses or cannot be reached, or a file is not the
            published one.

    Example:
        >>> download_corpus("savee")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: savee has no public download; ask for it at http://kahlan.eps.surrey.ac.uk/savee/
    """
    if corpus not in CORPORA:
        raise InputError(f"corpus '{corpus}' is unknown; choose from {', '.join(DOWNLOADABLE)}")
    if corpus not in _HOSTS:
        raise InputError(f"{corpus} has no public download; ask for it at {CORPORA[corpus].homepage}")
    target = Path(folder or default_folder()) / corpus
    host = (base_url or _HOSTS[corpus]).rstrip("/")
    ways: dict[str, Callable[[str, Path], Path]] = {"ravdess": _ravdess, "tess": _tess, "crema_d": _crema_d}
    try:
        return ways[corpus](host, target)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{host} answers in another form than expected ({type(error).__name__}: {error}); download {corpus} by "
            "hand and give its folder"
        ) from error


def _ravdess(host: str, target: Path) -> Path:
    """Fetch the archive of speech from the record on Zenodo, by its REST interface."""
    record = CORPORA["ravdess"].homepage.rpartition("/")[2]
    listed = request_json(f"{host}/api/records/{record}")["files"]
    entry = next((entry for entry in listed if entry["key"] == _ARCHIVE), None)
    if entry is None:
        raise InputError(f"{host}: record {record} holds no {_ARCHIVE}; download RAVDESS by hand and give its folder")
    url = f"{host}/api/records/{record}/files/{_ARCHIVE}/content"
    fetch([RemoteFile(_ARCHIVE, url, entry["checksum"], int(entry["size"]))], target, "Fetching RAVDESS")
    return target / _ARCHIVE


def _tess(host: str, target: Path) -> Path:
    """Fetch the recordings from the Dataverse at Borealis, by its native interface."""
    identifier = f"doi:{CORPORA['tess'].doi}"
    answer = request_json(f"{host}/api/datasets/:persistentId/?persistentId={identifier}")
    files = []
    for entry in answer["data"]["latestVersion"]["files"]:
        data = entry["dataFile"]
        name = PurePosixPath(data["filename"]).name
        if name.lower().endswith((".wav", ".zip")):
            digest = f"{data['checksum']['type'].replace('-', '').lower()}:{data['checksum']['value']}"
            url = f"{host}/api/access/datafile/{int(data['id'])}"
            files.append(RemoteFile(name, url, digest, int(data["filesize"])))
    if not files:
        raise InputError(f"{host}: {identifier} holds no recordings; download TESS by hand and give its folder")
    fetch(files, target, "Fetching TESS")
    archives = [file for file in files if file.path.lower().endswith(".zip")]
    return target / archives[0].path if len(files) == len(archives) == 1 else target


def _crema_d(host: str, target: Path) -> Path:
    """Fetch the recordings from GitHub: the repository's zip file has their digests, its LFS store the audio."""
    recordings = target / "AudioWAV"
    pointers = _pointers(host, target)
    names: dict[str, list[str]] = {}
    for name, (digest, _) in pointers.items():
        # The corpus holds three recordings twice, under two names.
        names.setdefault(digest, []).append(name)
    sizes = dict(pointers.values())
    missing = [digest for digest in sorted(names) if not _held(recordings, names[digest], sizes[digest])]
    for begin in range(0, len(missing), _LFS_BATCH):
        batch = missing[begin : begin + _LFS_BATCH]
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": digest, "size": sizes[digest]} for digest in batch],
        }
        url = f"{host}/{_REPOSITORY}.git/info/lfs/objects/batch"
        answer = request_json(url, body, **{"Accept": _LFS_JSON, "Content-Type": _LFS_JSON})
        files = [_lfs_file(entry, names[entry["oid"]][0]) for entry in answer["objects"]]
        fetch(files, recordings, f"Fetching CREMA-D, {begin:,} to {begin + len(batch):,} of {len(missing):,}")
        for digest in batch:
            for twin in names[digest][1:]:
                shutil.copyfile(recordings / names[digest][0], recordings / twin)
    return target


def _held(recordings: Path, names: list[str], size: int) -> bool:
    """Return whether the recording was fetched before; the build looks at its bytes."""
    return all((recordings / name).is_file() and (recordings / name).stat().st_size == size for name in names)


def _lfs_file(entry: Mapping[str, Any], name: str) -> RemoteFile:
    if "error" in entry:
        raise InputError(
            f"GitHub does not give {name} ({entry['error'].get('message', 'no reason')}); clone the repository with "
            "Git LFS, and give its folder"
        )
    action = entry["actions"]["download"]
    return RemoteFile(name, action["href"], f"sha256:{entry['oid']}", int(entry["size"]), action.get("header", {}))


def _pointers(host: str, target: Path) -> dict[str, tuple[str, int]]:
    """Return SHA-256 and size of every recording, and keep the table of votes that lies in the same zip file."""
    target.mkdir(parents=True, exist_ok=True)
    archive = target / "CREMA-D-master.zip"
    _download_unverified(f"{host}/{_REPOSITORY}/archive/refs/heads/master.zip", archive)
    pointers = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                parts = PurePosixPath(member.filename).parts
                if parts[1:] == ("processedResults", "tabulatedVotes.csv"):
                    (target / "processedResults").mkdir(exist_ok=True)
                    (target / "processedResults" / "tabulatedVotes.csv").write_bytes(opened.read(member))
                if len(parts) == 3 and parts[1] == "AudioWAV" and parts[2].lower().endswith(".wav"):
                    found = _POINTER.fullmatch(opened.read(member))
                    if found:
                        pointers[parts[2]] = (found[1].decode(), int(found[2]))
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise InputError(f"{host}/{_REPOSITORY}: the zip file is damaged; run the command again") from error
    archive.unlink()
    if not pointers:
        raise InputError(f"{host}/{_REPOSITORY}: no recordings are listed; clone it with Git LFS, and give its folder")
    return pointers


def _download_unverified(url: str, file: Path) -> None:
    """Fetch a file that has no published digest; what it lists is verified instead."""
    import pooch

    try:
        pooch.retrieve(url, known_hash=None, fname=file.name, path=file.parent, progressbar=False)
    except OSError as error:
        raise InputError(f"{url}: cannot be fetched ({type(error).__name__}); check the connection") from error
