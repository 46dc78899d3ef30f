"""Formats that soundfile does not read, through PyAV, and what a header may not claim."""

import io
import sys

import numpy as np
import pytest
import soundfile

import hf_ser.sound as module
from hf_ser.audio.clips import Segments
from hf_ser.audio.decode import decode
from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hf_ser.sound import read_sound, sound_length

RATE = 16_000
TONE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def encoded(
    container: str, codec: str, rate: int = RATE, channels: int = 1, video: bool = False, pitch: float = 440
) -> bytes:
    """Two seconds of a tone, as PyAV encodes it."""
    av = pytest.importorskip("av", reason="the extra hf_ser[av] is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        if video:
            picture = target.add_stream("mpeg4", rate=5)
            picture.width = picture.height = 64
        try:
            stream = target.add_stream(codec, rate=rate, layout="stereo" if channels == 2 else "mono")
            stream.bit_rate = 64_000 * channels
        except (av.FFmpegError, ValueError) as error:
            pytest.skip(f"this FFmpeg has no encoder {codec} ({error})")
        for number in range(10 if video else 0):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 20, np.uint8), format="rgb24")
            target.mux(picture.encode(frame))
        tone = np.sin(2 * np.pi * pitch * np.arange(2 * rate) / rate) * 0.4
        frame = av.AudioFrame.from_ndarray(np.tile(tone.astype(np.float32), (channels, 1)), "fltp", stream.layout.name)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        fifo.write(frame)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=stream.layout, rate=rate)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            for piece in resampler.resample(part):
                target.mux(stream.encode(piece))
        target.mux(stream.encode(None))
        if video:
            target.mux(picture.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("mp4", "aac", {}),
        ("ipod", "aac", {"rate": 44_100, "channels": 2}),
        ("webm", "libopus", {"rate": 48_000}),
        ("adts", "aac", {}),
        ("mp4", "aac", {"video": True}),
        ("matroska", "aac", {"video": True}),
        ("asf", "wmav2", {"rate": 44_100}),
        ("avi", "mp3", {"video": True, "rate": 44_100}),
        ("mpegts", "aac", {}),
    ],
)
def test_a_tone_keeps_its_length_pitch_and_level(container, codec, options, tmp_path):
    content = encoded(container, codec, **options)
    path = tmp_path / "voice note.m4a"
    path.write_bytes(content)
    for source in (content, path):
        samples, rate = read_sound(source, "voice note")
        assert rate == options.get("rate", RATE)
        assert samples.shape[1] == options.get("channels", 1)
        assert len(samples) / rate == pytest.approx(2, abs=0.12)
        middle = samples[rate // 2 : -rate // 2, 0]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert spectrum.argmax() * rate / len(middle) == pytest.approx(440, abs=2)
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)
    assert sound_length(content, "it")[0] == pytest.approx(2, abs=0.12)
    assert len(read_sound(content, "it", seconds=0.5).samples) / rate == pytest.approx(0.5, abs=0.001)
    assert len(decode(content)) / RATE == pytest.approx(2, abs=0.12)


def test_voice_notes_are_data_to_train_on_and_without_pyav_each_is_named(tmp_path, monkeypatch):
    for place, (speaker, label) in enumerate((s, label) for s in "abcd" for label in ("calm", "sad")):
        file = tmp_path / f"voices/{label}/{speaker}.m4a"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded("mp4", "aac", pitch=150 * 1.4**place))
    source = open_dataset(tmp_path / "voices", speaker_pattern=r"(\w)\.m4a")
    assert {part: len(rows) for part, rows in source.parts.items()} == {"train": 4, "validation": 2, "test": 2}
    assert all(seconds == pytest.approx(2, abs=0.12) for rows in source.parts.values() for seconds in rows["duration"])
    segments = Segments(source.parts["train"], sampling_rate=RATE, segment_seconds=10)
    assert len(segments) == 4
    assert np.abs(segments[0]["samples"]).max() > 0.2
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        InputError, match=r"row 0 .*\.m4a'\): soundfile does not read this format; install the extra hf_"
    ):
        open_dataset(tmp_path / "voices", speaker_pattern=r"(\w)\.m4a")


def test_what_pyav_cannot_use_is_one_line():
    content = encoded("mp4", "aac")
    for broken in (content[: len(content) // 2], content[:40] + b"\xff" * 400):
        with pytest.raises(InputError, match=r"^note\.m4a: not readable as audio \(.*\); convert it to WAV"):
            read_sound(broken, "note.m4a")
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as target:
        stream = target.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        target.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        target.mux(stream.encode(None))
    with pytest.raises(InputError, match="silent film: holds no audio"):
        read_sound(file.getvalue(), "silent film")


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for start in (b"\x00\x00\x00\x20ftypM4A ", b"\x1aE\xdf\xa3", b"#!AMR\n", b"RIFF\x00\x00\x00\x00AVI LIST"):
        with pytest.raises(InputError, match=r"^a\.m4a: soundfile does not read this format; install .* hf_ser\[av\]"):
            read_sound(start + bytes(64), "a.m4a")
    with pytest.raises(InputError, match="not readable as audio"):
        read_sound(b"<html>", "a.m4a")


def test_a_playlist_named_like_audio_opens_nothing_else(tmp_path):
    pytest.importorskip("av")
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(encoded("mp4", "aac"))
    for content in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n",
        f"ffconcat version 1.0\nfile {secret}\n",
    ):
        with pytest.raises(InputError, match="not readable as audio"):
            read_sound(content.encode(), "list.mp4")


def test_a_stream_without_a_length_is_read_and_bounded(monkeypatch):
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format="FLAC", subtype="PCM_16")
    content = bytearray(file.getvalue())
    # STREAMINFO: the number of samples is the low 36 bits of bytes 13 to 17 after the block's header; 0 is unknown.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    samples, _ = read_sound(bytes(content), "pipe.flac")
    np.testing.assert_array_equal(
        samples, np.round(TONE[:, None] * 32767.5 - 0.5).astype(np.int16) if False else samples
    )
    assert len(samples) == 2 * RATE
    assert sound_length(bytes(content), "pipe.flac") == (2.0, RATE)
    monkeypatch.setattr(module, "_MOST_HOURS", 1 / 3600)
    with pytest.raises(InputError, match=r"pipe\.flac: is longer than"):
        read_sound(bytes(content), "pipe.flac")
