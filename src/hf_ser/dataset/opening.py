"""Where data comes from: a folder, a table, a Hub id or a `datasets` object becomes rows in their own columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hf_ser.dataset.tables import TABLE_EXTENSIONS, Table, read_labelled_folders, read_metadata, read_table
from hf_ser.errors import InputError, hub_errors, persistent

SYNTHETIC_MARK: Final = "SYNTHETIC.txt"
"""A folder of synthesised speech contains this file, so that results on it are never reported as evidence."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One data set as it was given.

    Attributes:
        name: As the caller names it, else the last part of the path or Hub id.
        path: The folder, file or Hub id as given; None for a data set in memory.
        parts: The rows of each part under the part's own name; a single part `train` if there are none.
        kind: `corpora` for a folder of known corpora, `protocol` for a configuration that is named as the protocol,
            `other` for all others.
    """

    name: str
    path: str | None
    parts: Mapping[str, Table]
    kind: str = "other"

    @property
    def subject(self) -> str:
        """What messages call it."""
        return f"data set '{self.path or self.name}'"

    @property
    def corpus(self) -> str:
        """Its name as that of a corpus: letters, digits and underscores."""
        return re.sub(r"\W+", "_", self.name).strip("_").lower() or "data"

    @property
    def synthetic(self) -> bool:
        """Whether it is a folder that is marked as synthesised speech."""
        return self.path is not None and (Path(self.path) / SYNTHETIC_MARK).is_file()


def open_any(dataset: Any, protocol: str, options: Mapping[str, Any], name: str | None = None) -> Opened:
    """Open one data set; `options` are those of `datasets.load_dataset`. Text may be `NAME=DATA`."""
    from datasets import Dataset, DatasetDict
    from datasets.config import HF_CACHE_HOME

    if isinstance(dataset, Dataset | DatasetDict):
        parts = _tables(dataset)
        info = next((it.rows.info for it in parts.values()), None)
        return Opened(name or (info and info.dataset_name) or "in-memory data set", None, parts)
    if not isinstance(dataset, str | Path):
        ways = "give a folder, a table, a Hub id, a datasets.Dataset (from_dict, from_pandas; no streaming)"
        raise InputError(f"a {type(dataset).__name__} is not a data set; {ways} or a DatasetDict")
    if options.get("streaming"):
        raise InputError("streaming is not supported; leave streaming=True out, the data set is then downloaded")
    text = str(dataset)
    given, equals, rest = text.partition("=")
    if equals and rest and re.fullmatch(r"\w+", given) and not Path(text).exists():
        name, text = name or given, rest
    path = Path(text)
    if path.is_file() and path.suffix.lower() in TABLE_EXTENSIONS:
        # `metadata.csv` is the table of its folder.
        named = path.resolve().parent.name if path.stem.lower() == "metadata" else path.stem
        return Opened(name or named, text, {"train": read_table(path)})
    if path.is_dir():
        return _folder(path, name or path.resolve().name or "data", text, protocol, options)
    if path.exists() or text.count("/") != 1 or text.startswith((".", "/", "~")):
        kinds = ", ".join(sorted(TABLE_EXTENSIONS))
        reason = f"is a file, and no table ({kinds})" if path.exists() else "there is no such folder or file"
        raise InputError(f"data set '{text}': {reason}; give a folder of recordings, a table, or a Hub id USER/NAME")
    loaded, kind = _load_from_hub(text, protocol, options)
    # Rows of others: what they call a file must not be any file of this machine.
    cache = Path(HF_CACHE_HOME).expanduser()
    return Opened(name or text.rpartition("/")[2], text, _tables(loaded, cache, closed=True), kind)


def _tables(loaded: Any, root: Path | None = None, closed: bool = False) -> dict[str, Table]:
    parts = loaded if isinstance(loaded, dict) else {"train": loaded}
    return {part: Table(rows, root, closed=closed) for part, rows in parts.items()}


def _folder(path: Path, name: str, text: str, protocol: str, options: Mapping[str, Any]) -> Opened:
    from datasets import load_from_disk

    from hf_ser.dataset.collection import holds_clips, read_folder

    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return Opened(name, text, _tables(load_from_disk(text)))
    if parts := read_metadata(path):
        return Opened(name, text, parts)
    if any(path.glob("*.parquet")) or any(path.glob("*/*.parquet")):
        try:
            loaded, kind = _load(text, protocol, options)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"data set '{text}': {str(error).strip().splitlines()[0]}") from error
        return Opened(name, text, _tables(loaded, path, closed=True), kind)
    if not holds_clips(path) and (table := read_labelled_folders(path)) is not None:
        return Opened(name, text, {"train": table})
    return Opened(name, text, {"train": Table(read_folder(path), path)}, "corpora")


def _load_from_hub(name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    api, revision = HfApi(token=options.get("token")), options.get("revision")
    # A folder whose name was mistyped looks like a Hub id.
    subject = f"data set '{name}'" + (" (no such folder, taken as a Hub id)" if Path(name).parent.is_dir() else "")
    unreachable: Exception | None = None
    with hub_errors(subject, revision):
        try:
            # Resolved once, so that names and clips are of one commit; `datasets` does not report why this fails.
            info = persistent(lambda: api.dataset_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT))
            if info.gated:
                persistent(lambda: api.auth_check(name, repo_type="dataset"))
            options = {**options, "revision": str(info.sha)}
        except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except Exception as error:
            # The files may be cached.
            unreachable = error
        try:
            return persistent(lambda: _load(name, protocol, options))
        except Exception as error:
            raise unreachable or error from error


def _load(name: str, protocol: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    from datasets import get_dataset_config_names, load_dataset

    configurations = get_dataset_config_names(name, **options)
    # Without a configuration of the protocol the whole is split here, or the data set keeps its own parts.
    chosen = next((wanted for wanted in (protocol, "given", "all") if wanted in configurations), None)
    return load_dataset(name, chosen, **options), "protocol" if chosen == protocol else "other"
