"""A built data set on the Hub: one commit, private unless the audio may be published."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml
from huggingface_hub import metadata_load

from hf_ser.corpora import CORPORA
from hf_ser.dataset.data_card import card_of_repository
from hf_ser.errors import InputError
from hf_ser.hub.commits import CARD, Pushed, open_hub, push_files

_RECORDS: Final = (CARD, "build_report.json", "build_report.md", "split_proof.json")


def publish_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = True,
    acknowledge_licences: Iterable[str] = (),
    gated: str | None = None,
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
        gated: Terms that everybody has to agree to before access to the files; the repository asks for consent from
            before the first file is there.
        token: Hub token; None uses the one that is logged in.
        revision: Branch to commit to; None is the main branch.

    Raises:
        InputError: The folder is not a built data set, or the repository is or would be public without the
            acknowledgement, or without a licence (`HubError` if the Hub refuses or cannot be reached).

    Example:
        >>> import tempfile
        >>> publish_dataset(tempfile.mkdtemp(), "me/eight_emotions")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: '...' is not a built data set: it has no README.md; give a folder of hf-ser build
    """
    top = Path(folder)
    files = _files(top)
    front = metadata_load(top / CARD) or {}
    configurations = {entry["config_name"] for entry in front.get("configs") or ()}
    if gated is not None and not gated.strip():
        raise InputError("gated has no text; give the terms that people have to agree to")
    acknowledged = {acknowledge_licences} if isinstance(acknowledge_licences, str) else set(acknowledge_licences)
    if unknown := sorted(acknowledged - set(CORPORA)):
        raise InputError(f"acknowledge_licences names unknown corpora ({', '.join(unknown)}); name those of the data")

    def approve(public: bool) -> None:
        published = [CORPORA[name] for name in CORPORA if name in configurations and name not in acknowledged]
        closed = {corpus.name: corpus.licence.name for corpus in published if not corpus.licence.redistribution}
        if public and closed:
            terms = "; ".join(f"{name}: {licence}" for name, licence in closed.items())
            raise InputError(
                f"'{repo_id}' would publish audio whose licence does not allow it ({terms}); keep it private, leave "
                f"the corpora out, or name them in acknowledge_licences (--acknowledge-licences {','.join(closed)}) "
                "if you have the right"
            )
        if public and not front.get("license"):
            raise InputError(
                f"'{repo_id}' would publish audio without a licence; build it again with one (--licence cc-by-4.0, or "
                "the one that the speakers agreed to), or keep it private"
            )

    def approve_and_gate(public: bool) -> None:
        approve(public)
        if gated is not None:
            open_hub(repo_id, token).update_repo_settings(repo_id, repo_type="dataset", gated="auto")

    approve(not private)
    card = card_of_repository((top / CARD).read_text(encoding="utf-8"), repo_id)
    if gated is not None:
        prompt = yaml.safe_dump({"extra_gated_prompt": gated}, allow_unicode=True, width=10_000)
        card = card.replace("---\n", f"---\n{prompt}", 1)
    return push_files(
        repo_id,
        {**files, CARD: card.encode()},
        repo_type="dataset",
        message="Write the data set",
        private=private,
        revision=revision,
        token=token,
        stale=lambda path: path.startswith("data/") and path.endswith(".parquet"),
        approve=approve_and_gate,
    )


def _files(top: Path) -> dict[str, Path]:
    files = {name: top / name for name in _RECORDS if (top / name).is_file()}
    shards = {f"data/{path.name}": path for path in sorted((top / "data").glob("*.parquet"))}
    missing = [name for name in _RECORDS if name not in files] + ([] if shards else ["data/*.parquet"])
    if missing:
        raise InputError(f"'{top}' is not a built data set: it has no {missing[0]}; give a folder of hf-ser build")
    return shards | files
