"""Fetching files over HTTP by pooch, which verifies and keeps them, with transfers that go on where they broke off."""

import email.utils
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from tqdm import tqdm

from hf_ser.errors import InputError

__all__ = ["RemoteFile", "fetch", "request_json"]

_ATTEMPTS: Final = 6
_TIMEOUT_SECONDS: Final = 60
_AT_A_TIME: Final = 4
_BLOCK: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        path: Where it goes, relative to the folder.
        url: Where it comes from.
        digest: What it must be, as `algorithm:hexadecimal`.
        size: In bytes.
        headers: Sent with each request.
    """

    path: str
    url: str
    digest: str
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)


class _Resuming:
    """What pooch downloads by: appends to the bytes that an earlier attempt, or an earlier process, left behind."""

    def __init__(self, file: RemoteFile, partial: Path) -> None:
        self._file = file
        self._partial = partial

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        self._partial.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._transfer(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                if attempt == _ATTEMPTS:
                    raise InputError(
                        f"{url}: the connection broke {_ATTEMPTS} times ({type(error).__name__}); run the command "
                        "again, and it goes on where it stopped"
                    ) from error
                time.sleep(min(2.0**attempt / 4, 20.0))
        self._partial.replace(output_file)

    def _transfer(self, url: str) -> None:
        """Fetch what is missing, or raise an error of the connection."""
        import requests

        held = self._partial.stat().st_size if self._partial.exists() else 0
        if held > self._file.size:
            self._partial.unlink()
            held = 0
        if held == self._file.size:
            return
        headers = {**self._file.headers, "Accept-Encoding": "identity"}
        if held:
            headers["Range"] = f"bytes={held}-"
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
            _raise_for_status(answer)
            # A server that knows no ranges sends the whole again.
            with self._partial.open("ab" if held and answer.status_code == 206 else "wb") as sink:
                _copy(answer, sink)
        if self._partial.stat().st_size < self._file.size:
            raise requests.ConnectionError("the answer is cut off")


def _copy(answer: Any, sink: IO[bytes]) -> None:
    for block in answer.iter_content(_BLOCK):
        sink.write(block)


def _raise_for_status(answer: Any) -> None:
    """Wait and try again where the server says so; raise an input error where it refuses."""
    import requests

    status = answer.status_code
    if status < 400:
        return
    if status in (429, 500, 502, 503, 504):
        time.sleep(_retry_after_seconds(answer.headers.get("Retry-After")))
        raise requests.ConnectionError(f"status {status}")
    raise InputError(f"{answer.url}: the server answers {status}; download the corpus by hand and give its folder")


def _retry_after_seconds(value: str | None) -> float:
    if value is None:
        return 0.0
    if value.isdigit():
        return min(float(value), 120.0)
    date = email.utils.parsedate_to_datetime(value)
    return max(0.0, min(date.timestamp() - time.time(), 120.0))


def fetch(files: Sequence[RemoteFile], folder: Path, description: str) -> None:
    """Fetch files that are not in the folder already, and verify all of them.

    Args:
        files: What to fetch.
        folder: Where to; made where it is absent.
        description: Of the progress bar.

    Raises:
        InputError: A server refuses, the connection keeps breaking, or a file is not what it should be.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    keeper = pooch.create(
        path=folder,
        base_url="",
        registry={file.path: file.digest for file in files},
        urls={file.path: file.url for file in files},
    )

    def get(file: RemoteFile) -> None:
        partial = folder / ".partial" / file.digest.replace(":", "-")
        try:
            keeper.fetch(file.path, downloader=_Resuming(file, partial))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            # Not kept: pooch has removed it, and the next attempt begins at the first byte.
            raise InputError(
                f"{file.url}: the file is not the published one ({file.digest}); run the command again, or download "
                "the corpus by hand and give its folder"
            ) from error

    with (
        ThreadPoolExecutor(_AT_A_TIME) as pool,
        tqdm(total=len(files), desc=description, unit="file", disable=None) as progress,
    ):
        for _ in pool.map(get, files):
            progress.update()
    partial = folder / ".partial"
    if partial.is_dir() and not any(partial.iterdir()):
        partial.rmdir()


def request_json(url: str, body: Mapping[str, Any] | None = None, **headers: str) -> Any:
    """Return what a server answers, as JSON; with a body, of a POST request.

    Raises:
        InputError: The server cannot be reached, refuses, or answers something else.
    """
    import requests

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            answer = requests.request(
                "GET" if body is None else "POST", url, json=body, headers=headers, timeout=_TIMEOUT_SECONDS
            )
            _raise_for_status(answer)
            return answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise InputError(
                f"{url}: the answer is no JSON; download the corpus by hand and give its folder"
            ) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            if attempt == _ATTEMPTS:
                raise InputError(f"{url}: cannot be reached ({type(error).__name__}); check the connection") from error
            time.sleep(min(2.0**attempt / 4, 20.0))
    raise AssertionError("unreachable")
