"""A built data set on the Hub: one commit, private unless the audio may be published."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hf_ser.corpora import CORPORA
from hf_ser.dataset.data_card import card_of_repository
from hf_ser.errors import InputError
from hf_ser.hub.commits import CARD, Pushed, push_files

_RECORDS: Final = (CARD, "build_report.json", "build_report.md", "split_proof.json")


def publish_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    acknowledge_licences: Iterable[str] = (),
    token: str | None = None,
    revision: str | None = None,
) -> Pushed:
    """Push a data set that `build_dataset` wrote, as one commit.

    Args:
        folder: The built folder.
        repo_id: `USER/NAME`; the repository is created if it does not exist.
        private: Whether a new repository is private.
        acknowledge_licences: For a public repository, the names of all its corpora whose licence does not allow
            redistribution (`savee`, `tess`): you declare that you have the right to publish them.
        token: Hub token; None uses the one that is logged in.
        revision: Branch to commit to; None is the main branch.

    Raises:
        InputError: The folder is not a built data set, or the repository is or would be public without the
            acknowledgement (`HubError` if the Hub refuses or cannot be reached).

    Example:
        >>> import tempfile
        >>> publish_dataset(tempfile.mkdtemp(), "me/eight_emotions")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: '...' is not a built data set: it has no README.md; give a folder of hf-ser build
    """
    top = Path(folder)
    files = _files(top)
    corpora = _corpora(top)
    acknowledged = {acknowledge_licences} if isinstance(acknowledge_licences, str) else set(acknowledge_licences)
    if unknown := sorted(acknowledged - set(CORPORA)):
        raise InputError(f"acknowledge_licences names unknown corpora ({', '.join(unknown)}); name those of the data")

    def approve(public: bool) -> None:
        closed = [name for name in corpora if not CORPORA[name].licence.redistribution and name not in acknowledged]
        if public and closed:
            terms = "; ".join(f"{name}: {CORPORA[name].licence.name}" for name in closed)
            raise InputError(
                f"'{repo_id}' would publish audio whose licence does not allow it ({terms}); keep it private, leave "
                f"the corpora out, or name them in acknowledge_licences (--acknowledge-licences {','.join(closed)}) "
                "if you have the right"
            )

    approve(not private)
    card = card_of_repository((top / CARD).read_text(encoding="utf-8"), repo_id)
    return push_files(
        repo_id,
        {**files, CARD: card.encode()},
        repo_type="dataset",
        message="Write the eight-emotions data set",
        private=private,
        revision=revision,
        token=token,
        stale=lambda path: path.startswith("data/") and path.endswith(".parquet"),
        approve=approve,
    )


def _files(top: Path) -> dict[str, Path]:
    files = {name: top / name for name in _RECORDS if (top / name).is_file()}
    shards = {f"data/{path.name}": path for path in sorted((top / "data").glob("*.parquet"))}
    missing = [name for name in _RECORDS if name not in files] + ([] if shards else ["data/*.parquet"])
    if missing:
        raise InputError(f"'{top}' is not a built data set: it has no {missing[0]}; give a folder of hf-ser build")
    return shards | files


def _corpora(top: Path) -> tuple[str, ...]:
    from huggingface_hub import metadata_load

    configurations = {entry["config_name"] for entry in (metadata_load(top / CARD) or {}).get("configs") or ()}
    return tuple(name for name in CORPORA if name in configurations)
