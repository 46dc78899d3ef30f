"""Putting a built data set on the Hub: one commit or none, private unless the terms of the audio were read."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml

from hf_ser.corpora import CORPORA
from hf_ser.dataset.data_card import card_of_repository
from hf_ser.errors import InputError
from hf_ser.hub.commits import CARD, Pushed, push_files

__all__ = ["publish_dataset"]

_OURS: Final = (CARD, "build_report.json", "build_report.md", "split_proof.json")
"""Files beside `data/*.parquet` that a build writes."""


def publish_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    acknowledge_licences: Iterable[str] = (),
    token: str | None = None,
    revision: str | None = None,
) -> Pushed:
    """Put a data set that `build_dataset` wrote on the Hub.

    All changes are one commit, made after every file is uploaded: a push that breaks off leaves the old version.

    Args:
        folder: The built folder.
        repo_id: `USER/NAME`; the repository is made where it does not exist.
        private: Whether a new repository is private.
        acknowledge_licences: For a public repository, the names of all its corpora whose terms do not allow
            passing the audio on (`savee`, `tess`): you declare that you have the right to publish them.
        token: Of the Hub; None takes the one that is logged in.
        revision: Branch to commit to; None takes the main one.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: The folder is no built data set, the repository is or would be public without the
            acknowledgement, or the Hub refuses.

    Example:
        >>> import tempfile
        >>> publish_dataset(tempfile.mkdtemp(), "me/eight_emotions")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: ... is no built data set (it has no README.md); give a folder that hf-ser build wrote
    """
    top = Path(folder)
    files = _files(top)
    corpora = _corpora(top)
    acknowledged = _acknowledged(acknowledge_licences)
    if not private:
        _refuse_public(repo_id, corpora, acknowledged)

    def approve(public: bool) -> None:
        if public:
            _refuse_public(repo_id, corpora, acknowledged)

    card = card_of_repository((top / CARD).read_text(encoding="utf-8"), repo_id)
    return push_files(
        repo_id,
        {**files, CARD: card.encode()},
        repo_type="dataset",
        message="Write the eight-emotions data set",
        private=private,
        revision=revision,
        token=token,
        owned_front_matter=("configs", "dataset_info"),
        stale=lambda path: path.startswith("data/") and path.endswith(".parquet"),
        approve=approve,
    )


def _files(top: Path) -> dict[str, Path]:
    """Return the files to publish by their paths in the repository."""
    for name in _OURS:
        if not (top / name).is_file():
            raise InputError(f"{top} is no built data set (it has no {name}); give a folder that hf-ser build wrote")
    shards = {f"data/{path.name}": path for path in sorted((top / "data").glob("*.parquet"))}
    if not shards:
        raise InputError(f"{top} is no built data set (it has no data/*.parquet); build it again")
    return {**shards, **{name: top / name for name in _OURS}}


def _corpora(top: Path) -> tuple[str, ...]:
    front_matter = (top / CARD).read_text(encoding="utf-8").split("---\n")[1]
    named = {entry["config_name"] for entry in yaml.safe_load(front_matter)["configs"]}
    return tuple(name for name in CORPORA if name in named)


def _acknowledged(names: Iterable[str]) -> set[str]:
    given = {names} if isinstance(names, str) else set(names)
    unknown = sorted(given - set(CORPORA))
    if unknown:
        raise InputError(
            f"acknowledge_licences names unknown corpora ({', '.join(unknown)}); it takes those of the data"
        )
    return given


def _refuse_public(repo_id: str, corpora: Iterable[str], acknowledged: set[str]) -> None:
    closed = [name for name in corpora if not CORPORA[name].licence.redistribution and name not in acknowledged]
    if closed:
        terms = "; ".join(f"{name}: {CORPORA[name].licence.name}" for name in closed)
        raise InputError(
            f"'{repo_id}' would publish audio whose terms do not allow it ({terms}); keep it private, leave the "
            f"corpora out, or name them in acknowledge_licences (--acknowledge-licences {','.join(closed)}) if you "
            "have the right"
        )
