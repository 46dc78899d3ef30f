"""Downloads of the corpora from a loopback server: repeated where needed, verified, and built from."""

import io

import pytest
import requests
import soundfile
from download_server import MASTER, MEDIA, RECORD, DownloadServer

from dataset_files import noise
from hf_ser.cli import main
from hf_ser.dataset.build import build_dataset
from hf_ser.dataset.download import DOWNLOADABLE, download_corpus
from hf_ser.errors import InputError


def recording(seed: int, frames: int = 800) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, noise(seed, frames).astype("int16"), 16_000, format="WAV")
    return stream.getvalue()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    running = DownloadServer()
    send = requests.adapters.HTTPAdapter.send
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter,
        "send",
        lambda adapter, request, **options: running.send(send, adapter, request, **options),
    )
    yield running
    running.close()


RAVDESS = {f"03-01-05-01-01-01-{actor:02d}.wav": recording(actor, 20_000) for actor in (1, 2)}
TESS = {"OAF_back_sad.wav": recording(3), "YAF_back_sad.wav": recording(4)}
CREMA_D = {f"{speaker}_DFA_ANG_XX.wav": recording(speaker) for speaker in range(1001, 1004)}
FIRST_OF_TESS = "https://borealisdata.ca/api/access/datafile/101"


def test_every_corpus_is_downloaded_verified_and_built_from(server, tmp_path):
    server.add_ravdess(RAVDESS)
    server.add_tess({**TESS, "readme.txt": b"not audio", "../outside.wav": b"not here"})
    server.add_crema_d(CREMA_D, votes='"","A","D","F","H","N","S","fileName"\n')
    got = {name: download_corpus(name, tmp_path / "kept") for name in DOWNLOADABLE}
    result = build_dataset(out=tmp_path / "out", **got)
    found = {name: sum(counts.values()) for name, counts in result.report["counts"].items()}
    assert found == {"ravdess": 2, "crema_d": 3, "tess": 2}
    assert result.report["rejected"] == []
    assert (tmp_path / "kept/crema_d/processedResults/tabulatedVotes.csv").is_file()
    assert not (tmp_path / "kept/outside.wav").exists()
    server.requests.clear()
    assert {name: download_corpus(name, tmp_path / "kept") for name in DOWNLOADABLE} == got
    # The sources are asked again for their lists, not for the audio.
    assert not [url for url in server.requests if "/files/" in url or "datafile" in url or "AudioWAV" in url]
    assert MASTER in server.requests


@pytest.mark.parametrize("fault", [50_000, 429, 503], ids=["cut", "429", "503"])
def test_a_failed_transfer_is_repeated(server, tmp_path, fault):
    url = server.add_ravdess(RAVDESS)
    (server.cut if fault == 50_000 else server.status)[url] = fault
    archive = download_corpus("ravdess", tmp_path)
    assert archive.read_bytes() == server.files[url]
    assert server.requests.count(url) == 2
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_other_bytes_than_published_are_refused_and_not_kept(server, tmp_path):
    server.add_tess(TESS)
    right = server.files[FIRST_OF_TESS]
    server.files[FIRST_OF_TESS] = right[:-1] + b"\0"
    with pytest.raises(InputError, match=r"hash of downloaded file \(OAF_back_sad.wav\) does not match"):
        download_corpus("tess", tmp_path)
    assert not (tmp_path / "tess/OAF_back_sad.wav").exists()
    server.files[FIRST_OF_TESS] = right
    assert (download_corpus("tess", tmp_path) / "OAF_back_sad.wav").read_bytes() == right


@pytest.mark.parametrize(
    ("corpus", "fault", "words"),
    [
        ("ravdess", lambda server: server.files.update({RECORD: b'{"entries": []}'}), "KeyError"),
        ("ravdess", lambda server: server.files.update({RECORD: b"<html>"}), "JSONDecodeError"),
        ("crema_d", lambda server: server.files.pop(f"{MEDIA}/1002_DFA_ANG_XX.wav"), "404"),
        ("crema_d", lambda server: server.files.update({MASTER: server.files[MASTER][:-100]}), "not a zip file"),
        ("crema_d", lambda server: server.add_crema_d({}), "lists no recordings"),
        ("tess", DownloadServer.close, "Connection"),
    ],
    ids=["listing", "json", "recording", "repository", "empty", "host"],
)
def test_every_failure_is_one_line_that_says_what_to_do(server, tmp_path, corpus, fault, words):
    server.add_ravdess(RAVDESS)
    server.add_tess(TESS)
    server.add_crema_d(CREMA_D)
    fault(server)
    with pytest.raises(InputError, match=words) as caught:
        download_corpus(corpus, tmp_path)
    assert "\n" not in str(caught.value)
    assert "run the command again" in str(caught.value)


@pytest.mark.parametrize(("corpus", "url"), [("crema_d", MASTER), ("tess", FIRST_OF_TESS)])
def test_a_full_disk_is_one_line_and_no_partial_file_stays(server, tmp_path, monkeypatch, corpus, url):
    server.add_crema_d(CREMA_D)
    server.add_tess({"OAF_back_sad.wav": recording(3)})
    read = requests.Response.iter_content

    def write(answer, *size, **options):
        if answer.url != url:
            return (yield from read(answer, *size, **options))
        yield b"some bytes"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(requests.Response, "iter_content", write)
    with pytest.raises(InputError, match="No space left on device") as caught:
        download_corpus(corpus, tmp_path)
    assert "\n" not in str(caught.value)
    assert url in server.requests
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_command_line_downloads_or_says_why_it_does_not(server, tmp_path, capsys):
    server.add_tess(TESS)
    words = ["build", "--download-dir", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]
    assert main([*words, "--download", "tess"]) == 0
    assert "tess          2 of 2,800 clips" in capsys.readouterr().out
    assert main([*words, "--download", "tess", "--tess", "x"]) == 2
    assert "given by a path and by --download" in capsys.readouterr().err
