"""Whatever people call a clip, it decodes to mono float32 at one rate, or one line says why not."""

import io
import os

import numpy as np
import pytest
import soundfile

from hf_ser import sound as module
from hf_ser.audio.decode import decode
from hf_ser.errors import InputError


@pytest.fixture
def write(tmp_path):
    """Write samples to a file whose name need not fit its format."""

    def write_file(samples, rate, name="clip.wav", **options):
        path = tmp_path / name
        with path.open("wb") as file:
            soundfile.write(file, np.asarray(samples), rate, **{"format": "WAV", "subtype": "FLOAT", **options})
        return path

    return write_file


def sine(hz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def test_sixteen_bits_at_the_target_rate_come_back_exactly(write):
    integers = np.array([0, 1, -1, 32767, -32768, 12345], dtype=np.int16)
    samples = decode(write(integers, 16_000, subtype="PCM_16"))
    assert samples.dtype == np.float32
    assert samples.shape == (6,)
    np.testing.assert_array_equal(samples, integers / 32768)


@pytest.mark.parametrize("rate", [8_000, 24_414, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_sine(write, rate):
    samples = decode(write(sine(1000, rate), rate))
    assert len(samples) == pytest.approx(16_000, abs=1)
    # The first and last milliseconds see a signal that begins out of nothing.
    inner = slice(400, 15_600)
    np.testing.assert_allclose(samples[inner], sine(1000, 16_000)[inner], atol=2e-4)


def test_channels_are_averaged(write):
    left, right = sine(300, 16_000), sine(500, 16_000)
    samples = decode(write(np.stack([left, right, 0 * left], axis=1), 16_000))
    np.testing.assert_allclose(samples, (left + right) / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("aiff_inside.wav", {"format": "AIFF", "subtype": "PCM_16"}, 1e-4),
        ("clip.flac", {"format": "FLAC", "subtype": "PCM_16"}, 1e-4),
        ("clip.opus", {"format": "OGG", "subtype": "OPUS"}, 0.05),
        ("clip.ogg", {"format": "OGG", "subtype": "VORBIS"}, 0.05),
        ("clip.mp3", {"format": "MP3", "subtype": "MPEG_LAYER_III"}, 0.05),
        ("no_extension", {"format": "WAV", "subtype": "PCM_24"}, 1e-4),
    ],
)
def test_formats_are_told_by_content(write, name, options, error):
    samples = decode(write(sine(440, 48_000), 48_000, name, **options))
    np.testing.assert_allclose(samples[1000:15_000], sine(440, 16_000)[1000:15_000], atol=error)


def test_path_bytes_and_struct_agree(write, tmp_path):
    path = write(sine(440, 22_050), 22_050)
    expected = decode(path)
    for source in (
        str(path),
        path.read_bytes(),
        {"bytes": None, "path": str(path)},
        {"bytes": path.read_bytes(), "path": None},
        # The path inside a Parquet file is a name that leads nowhere.
        {"bytes": path.read_bytes(), "path": str(tmp_path / "elsewhere.wav")},
    ):
        np.testing.assert_array_equal(decode(source), expected)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (LFS_POINTER, "git lfs pull"),
        (b"<html>not found</html>", "not readable as audio"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not readable as audio"),
    ],
)
@pytest.mark.parametrize("name", ["clip.wav", "clip.au", "clip.raw"])
def test_what_is_no_audio_is_named_in_one_line(tmp_path, content, says, name):
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, {"bytes": content, "path": str(path)}):
        with pytest.raises(InputError, match=says) as caught:
            decode(source)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message


def test_no_frames(write):
    with pytest.raises(InputError, match="holds no samples"):
        decode(write(np.zeros(0), 16_000))


def test_too_short_to_survive_resampling(write):
    with pytest.raises(InputError, match="holds no samples at 16000 hertz"):
        decode(write(np.ones(1), 96_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_samples_that_are_no_numbers(write, value):
    with pytest.raises(InputError, match=r"clip\.wav: .*not finite"):
        decode(write([0.0, value, 0.0], 48_000))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"absent\.wav: no such file"):
        decode(tmp_path / "absent.wav")
    with pytest.raises(InputError, match="not a regular file"):
        decode(tmp_path)


def test_a_pipe_or_a_device_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    for name, words in (("pipe", "not a regular file"), ("device", "not a regular file"), ("loop", "cannot be opened")):
        with pytest.raises(InputError, match=rf"{name}\.wav: {words}"):
            decode(tmp_path / f"{name}.wav")
        with pytest.raises(InputError, match=words):
            decode({"bytes": None, "path": str(tmp_path / f"{name}.wav")})


def flac(claimed: int) -> bytes:
    """A FLAC of one second whose header claims another length."""
    file = io.BytesIO()
    soundfile.write(file, sine(440, 16_000), 16_000, format="FLAC", subtype="PCM_16")
    content = bytearray(file.getvalue())
    # STREAMINFO: the number of samples is the low 36 bits of bytes 13 to 17 after the block's header.
    content[21] = content[21] & 0xF0 | claimed >> 32
    content[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(content)


def wav(rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sine(440, 16_000), 16_000, format="WAV", subtype="PCM_16")
    content = bytearray(file.getvalue())
    content[24:28] = rate.to_bytes(4, "little")
    return bytes(content)


def test_a_clip_is_bounded_before_memory_is_taken(monkeypatch, tmp_path):
    for claimed in (2**33, 2**36 - 1):
        with pytest.raises(InputError, match="longer than 2 hours, or claims to be"):
            decode(flac(claimed))
    for rate in (1, 999, 2**31 - 1):
        with pytest.raises(InputError, match=f"has a sampling rate of {rate} hertz"):
            decode(wav(rate))
    monkeypatch.setattr(module, "_MOST_HOURS", 0.9 / 3600)
    with pytest.raises(InputError, match="is longer than"):
        decode(wav(16_000))
    monkeypatch.undo()
    monkeypatch.setattr(module, "_MOST_BYTES", 9000)
    (tmp_path / "large.wav").write_bytes(wav(16_000))
    with pytest.raises(InputError, match="not a regular file of at most 9,000 bytes"):
        decode(tmp_path / "large.wav")


def test_a_name_replaces_the_path_in_errors():
    with pytest.raises(InputError, match=r"^savee/DC_a01: the file is empty"):
        decode(b"", name="savee/DC_a01")
    with pytest.raises(InputError, match=r"^clip 7: has neither bytes nor a path"):
        decode({"bytes": None, "path": None}, name="clip 7")
    with pytest.raises(InputError, match="not list"):
        decode([0.0, 1.0])


@pytest.mark.shared
@pytest.mark.parametrize(
    ("corpus", "pattern", "seconds"),
    [("TESS", "*germ_angry*", (1.2, 3.0)), ("TESS", "*food_fear*", (1.2, 3.0)), ("RAVDESS", "*.wav", (2.9, 5.3))],
)
def test_real_oddities(shared, corpus, pattern, seconds):
    folder = shared / "originals" / corpus
    found = sorted(folder.rglob(pattern))
    assert found, f"no {pattern} in {folder}"
    for path in found:
        samples = decode(path)
        assert seconds[0] < len(samples) / 16_000 < seconds[1]
        assert 0 < np.abs(samples).max() <= 1.01
