"""Single files: how they are identified, and what is found wrong with them."""

import io
from collections import Counter

import numpy as np
import pytest
import soundfile

from dataset_files import noise, write_wav
from hf_ser.corpora import discover, parse
from hf_ser.corpora.originals import originals
from hf_ser.dataset.hygiene import Fault, inspect_file

NAME = "1001_DFA_ANG_XX.wav"
CLIP = parse(NAME)

FLAGGED_ORIGINALS = {
    "crema_d/1027_IEO_ANG_MD": ["clipped"],
    "crema_d/1076_MTI_SAD_XX": ["all_zeros"],
    "savee/DC_h15": ["clipped"],
    "savee/JK_d07": ["clipped"],
    "savee/JK_n21": ["clipped"],
    "savee/JK_su08": ["clipped"],
    "tess/OAF_bite_neutral": ["misnamed"],
}


def inspect_bytes(folder, content, name, clip):
    (folder / name).write_bytes(content)
    return inspect_file(folder / name, clip)


def encoded(samples, rate=16_000, **options) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, **{"format": "WAV", **options})
    return stream.getvalue()


@pytest.mark.shared
def test_all_originals_are_identified_and_their_faults_found(shared):
    found = {clip.clip_id: inspect_file(path, clip) for path, clip in discover(shared / "originals").found}
    assert Counter(inspection.provenance for inspection in found.values()) == {"original": 44}
    assert {name: list(it.flags) for name, it in found.items() if it.flags} == FLAGGED_ORIGINALS
    headers = {clip.clip_id: soundfile.info(path) for path, clip in discover(shared / "originals").found}
    for name, header in headers.items():
        assert found[name].sampling_rate == header.samplerate
        assert found[name].duration == pytest.approx(header.duration, abs=1e-12)


@pytest.mark.shared
def test_lossless_and_lossy_copies_are_re_encoded_and_cut_ones_unknown(shared, tmp_path):
    path, clip = next(it for it in discover(shared / "originals").found if it.clip.clip_id == "tess/YAF_luck_disgust")
    samples, rate = soundfile.read(path, dtype="int16")
    other = encoded(samples, rate, format="FLAC", subtype="PCM_16")
    assert inspect_bytes(tmp_path, other, "YAF_luck_disgust.flac", clip).provenance == "re_encoded"
    assert inspect_bytes(tmp_path, encoded(samples[2000:], rate), path.name, clip).provenance == "unknown"
    assert inspect_bytes(tmp_path, encoded(samples // 4, rate), path.name, clip).provenance == "unknown"


@pytest.mark.shared
def test_opus_copies_of_every_corpus_are_re_encoded(shared):
    found = discover(shared / "corpora").found
    sample = [entry for number, entry in enumerate(found) if number % 211 == 0]
    assert len({clip.corpus for _, clip in sample}) == 4
    assert {inspect_file(path, clip).provenance for path, clip in sample} == {"re_encoded"}


@pytest.mark.shared
def test_an_original_under_another_clips_name_is_misnamed(shared, tmp_path):
    path = shared / "originals/CREMA-D/AudioWAV/1007_ITS_SAD_XX.wav"
    inspection = inspect_bytes(tmp_path, path.read_bytes(), NAME, CLIP)
    assert inspection.flags == {"misnamed": "its bytes are those of crema_d/1007_ITS_SAD_XX"}


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "unreadable", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "lfs_pointer", "git lfs pull"),
        (b"<html>404</html>", "unreadable", "not readable as audio"),
        (encoded(noise(1).astype("int16"))[:40], "unreadable", ""),
        (encoded(np.zeros(0, dtype="int16")), "unreadable", "no samples"),
        (encoded(np.array([0.1, np.nan, 0.2]), subtype="FLOAT"), "unreadable", "not finite"),
    ],
    # Not by the bytes: libsndfile writes the time into the header of floats, and two workers would differ.
    ids=["empty", "pointer", "page", "cut", "no_samples", "not_finite"],
)
def test_what_is_not_audio_is_a_fault(tmp_path, content, reason, words):
    assert inspect_file(tmp_path / NAME, CLIP).detail == "cannot be opened (No such file or directory)"
    (tmp_path / NAME).write_bytes(content)
    for quick in (False, True) if words != "not finite" else (False,):
        fault = inspect_file(tmp_path / NAME, CLIP, quick)
        assert isinstance(fault, Fault)
        assert fault.reason == reason
        assert words in fault.detail


@pytest.mark.parametrize(
    ("samples", "flags"),
    [
        (np.zeros(800), ["all_zeros"]),
        (np.tile([3, -3], 400), ["near_silent"]),
        (np.tile([15, -15], 400), []),
        (np.concatenate([noise(1), [32767]]), ["clipped"]),
        (np.concatenate([noise(1), [-32768]]), ["clipped"]),
        (np.concatenate([noise(1), [32766]]), []),
    ],
)
def test_levels(tmp_path, samples, flags):
    inspection = inspect_file(write_wav(tmp_path / NAME, samples), CLIP)
    assert list(inspection.flags) == flags
    (tmp_path / "floats.wav").write_bytes(encoded(samples / 32768, subtype="FLOAT"))
    as_floats = inspect_file(tmp_path / "floats.wav", CLIP)
    assert set(as_floats.flags) - {"misnamed"} == set(flags)
    assert as_floats.rms == pytest.approx(inspection.rms, rel=1e-5)
    assert as_floats.pcm_sha1 == inspection.pcm_sha1


def test_misnamed(tmp_path):
    right = ("OAF_bite_neutral", "oaf_BITE_neutral", "1040_ITH_SAD_XX", "DC_su03", "DC/su03", "03-01-02-01-01-01-01")
    wrong = ("OA_bite_neutral", "1040_ITH_SAD_X", "03-01-02-01-01-01-01_calm")
    for name in (*right, *wrong):
        file = write_wav(tmp_path / f"{name}.WAV", noise(1))
        assert ("misnamed" in inspect_file(file, parse(file)).flags) == (name in wrong)


@pytest.mark.parametrize("options", [{"format": "AIFF"}, {"format": "FLAC"}, {"subtype": "PCM_24"}])
def test_channels_and_containers_do_not_change_what_is_found(tmp_path, options):
    stereo = noise(1).astype("int16").reshape(-1, 2)
    plain = inspect_bytes(tmp_path, encoded(stereo), NAME, CLIP)
    other = inspect_bytes(tmp_path, encoded(stereo / 32768, **options), NAME, CLIP)
    assert (plain.duration, plain.sampling_rate, plain.flags) == (0.025, 16_000, {})
    assert (other.duration, other.sampling_rate, other.flags) == (0.025, 16_000, {})
    assert other.rms == pytest.approx(plain.rms, rel=1e-3)


def test_the_list_holds_every_published_name_once():
    known = originals()
    clips = [parse(f"{clip_id}.wav") for clip_id in known.by_clip_id]
    assert [clip.clip_id for clip in clips] == list(known.by_clip_id)
    assert len(clips) == 12_162
    assert Counter(len(twins) for twins in known.by_sha256.values()) == {1: 12_154, 2: 4}
    assert [clip_id for clip_id, entry in known.by_clip_id.items() if entry.rms == 0] == ["crema_d/1076_MTI_SAD_XX"]
    assert Counter(entry.clip_id.split("/")[0] for entry in known.by_clip_id.values() if entry.clipped) == {
        "crema_d": 550,
        "savee": 176,
        "tess": 1,
    }


@pytest.mark.shared
def test_the_shipped_list_is_the_manifests(shared, tmp_path):
    import runpy
    from importlib import resources
    from pathlib import Path

    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "list_originals.py"))
    script["main"](str(shared / "manifest.csv.gz"), str(tmp_path / "list"))
    shipped = resources.files("hf_ser.corpora").joinpath("data", "originals.txt.xz").read_bytes()
    assert (tmp_path / "list").read_bytes() == shipped
    assert len(shipped) < 400_000
