"""Fetching the corpora, against a server on loopback: resumed, verified, built from."""

import io

import pytest
import soundfile
from download_server import DownloadServer

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
    yield running
    running.close()


RAVDESS = {f"03-01-05-01-01-01-{actor:02d}.wav": recording(actor, 20_000) for actor in (1, 2)}
TESS = {"OAF_back_sad.wav": recording(3), "YAF_back_sad.wav": recording(4)}
CREMA_D = {f"{speaker}_DFA_ANG_XX.wav": recording(speaker) for speaker in range(1001, 1004)}


def test_every_corpus_is_fetched_verified_and_built_from(server, tmp_path):
    server.add_ravdess(RAVDESS)
    server.add_tess({**TESS, "readme.txt": b"not audio"})
    twin = {"1004_DFA_ANG_XX.wav": CREMA_D["1001_DFA_ANG_XX.wav"]}
    server.add_crema_d({**CREMA_D, **twin}, votes='"","A","D","F","H","N","S","fileName"\n')
    got = {name: download_corpus(name, tmp_path / "kept", base_url=server.url) for name in DOWNLOADABLE}
    result = build_dataset(out=tmp_path / "out", **got)
    assert {name: sum(counts.values()) for name, counts in result.report["counts"].items()} == {
        "ravdess": 2,
        "crema_d": 4,
        "tess": 2,
    }
    assert result.report["rejected"] == []
    asked = len(server.requests)
    again = {name: download_corpus(name, tmp_path / "kept", base_url=server.url) for name in DOWNLOADABLE}
    assert again == got
    # Only what is in the sources is asked again, not the audio.
    assert {path for _, path, _ in server.requests[asked:]} == {
        "/api/records/1188976",
        "/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF",
        "/CheyneyComputerScience/CREMA-D/archive/refs/heads/master.zip",
    }


def test_a_broken_connection_is_resumed_where_it_stopped(server, tmp_path):
    path = server.add_ravdess(RAVDESS)
    server.cut[path] = 50_000
    archive = download_corpus("ravdess", tmp_path, base_url=server.url)
    assert archive.read_bytes() == server.files[path]
    assert [asked for _, where, asked in server.requests if where == path] == [None, "bytes=49152-"]


def test_an_interrupted_process_is_resumed_by_the_next(server, tmp_path, monkeypatch):
    import hf_ser.dataset.transfer as transfer

    path = server.add_ravdess(RAVDESS)
    server.cut[path] = 70_000
    with monkeypatch.context() as only_once:
        only_once.setattr(transfer, "_ATTEMPTS", 1)
        with pytest.raises(InputError, match="goes on where it stopped"):
            download_corpus("ravdess", tmp_path, base_url=server.url)
    download_corpus("ravdess", tmp_path, base_url=server.url)
    assert [asked for _, where, asked in server.requests if where == path] == [None, "bytes=65536-"]


def test_a_server_without_ranges_sends_the_whole_again(server, tmp_path):
    path = server.add_ravdess(RAVDESS)
    server.ranges, server.cut[path] = False, 50_000
    assert download_corpus("ravdess", tmp_path, base_url=server.url).read_bytes() == server.files[path]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status):
    path = server.add_ravdess(RAVDESS)
    server.status[path] = status
    assert download_corpus("ravdess", tmp_path, base_url=server.url).is_file()


def test_other_bytes_than_published_are_refused_and_not_kept(server, tmp_path):
    server.add_tess(TESS)
    right = server.files["/api/access/datafile/101"]
    server.files["/api/access/datafile/101"] = right[:-1] + b"\0"
    with pytest.raises(InputError, match=r"datafile/101: the file is not the published one"):
        download_corpus("tess", tmp_path, base_url=server.url)
    assert not (tmp_path / "tess/OAF_back_sad.wav").exists()
    server.files["/api/access/datafile/101"] = right
    assert (download_corpus("tess", tmp_path, base_url=server.url) / "OAF_back_sad.wav").read_bytes() == right


def test_a_store_over_its_quota_is_one_line(server, tmp_path):
    server.add_crema_d(CREMA_D)
    server.files = {path: content for path, content in server.files.items() if not path.startswith("/store/")}
    with pytest.raises(InputError, match=r"GitHub does not give 100\d_DFA_ANG_XX.wav \(over quota\); clone") as caught:
        download_corpus("crema_d", tmp_path, base_url=server.url)
    assert "\n" not in str(caught.value)


def test_answers_of_another_form_are_one_line(server, tmp_path):
    server.files["/api/records/1188976"] = b'{"entries": []}'
    with pytest.raises(InputError, match="another form than expected"):
        download_corpus("ravdess", tmp_path, base_url=server.url)
    server.files["/api/records/1188976"] = b"<html>"
    with pytest.raises(InputError, match="no JSON"):
        download_corpus("ravdess", tmp_path, base_url=server.url)
    with pytest.raises(InputError, match="answers 404"):
        download_corpus("tess", tmp_path, base_url=server.url)


def test_an_unreachable_host_is_one_line(server, tmp_path):
    server.close()
    for name in DOWNLOADABLE:
        with pytest.raises(InputError) as caught:
            download_corpus(name, tmp_path, base_url=server.url)
        assert "\n" not in str(caught.value)


def test_command_line_fetches_or_says_why_not(server, tmp_path, capsys, monkeypatch):
    server.add_tess(TESS)
    monkeypatch.setattr("hf_ser.dataset.download._HOSTS", {"tess": server.url})
    words = ["build", "--download-dir", str(tmp_path / "kept"), "--out", str(tmp_path / "out")]
    assert main([*words, "--download", "tess"]) == 0
    assert "tess          2 of 2,800 clips" in capsys.readouterr().out
    assert main([*words, "--download", "savee"]) == 2
    assert "ask for it at http://kahlan" in capsys.readouterr().err
    assert main([*words, "--download", "tess", "--tess", "x"]) == 2
    assert "given by a path and by --download" in capsys.readouterr().err
