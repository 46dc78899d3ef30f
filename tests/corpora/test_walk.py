"""Finding clips below a folder: nested copies, foreign recordings, links, order."""

from pathlib import Path

import pytest

from hf_ser.corpora import discover
from hf_ser.errors import InputError


@pytest.fixture
def make(tmp_path):
    """Create empty files below a fresh folder and return that folder."""

    def create(*names: str) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return root

    return create


def relative(discovery):
    """What was found, ignored, and the further copies as (path, first copy, clip), relative to the root."""

    def name(path):
        return path.relative_to(discovery.root).as_posix()

    return (
        [(name(path), clip.clip_id) for path, clip in discovery.found],
        {name(path): reason for path, reason in discovery.ignored},
        [
            (name(path), name(copies[0].path), clip_id)
            for clip_id, copies in discovery.copies.items()
            for path, _ in copies[1:]
        ],
    )


def test_lossless_copies_come_first_then_the_shallowest(make):
    root = make("a/b/c/DC_a01.wav", "z/DC_a01.wav", "b/DC_a01.flac", "AudioMP3/DC_a01.mp3", "DC_a01.opus")
    found, _, duplicates = relative(discover(root))
    assert found == [("b/DC_a01.flac", "savee/DC_a01")]
    others = ["z/DC_a01.wav", "a/b/c/DC_a01.wav", "DC_a01.opus", "AudioMP3/DC_a01.mp3"]
    assert [path for path, _, _ in duplicates] == others


def test_every_ignored_recording_has_its_reason(make):
    foreign = "the name is not that of a clip of a known corpus"
    root = make(
        "Actor_01/03-02-05-01-01-01-01.wav",
        "Actor_01/01-01-05-01-01-01-01.mp4",
        "Actor_01/02-01-05-01-01-01-01.mp4",
        "Actor_01/01_01_01_01_dogs-sitting_angry.wav",
        "Actor_01/03-01-05-01-01-01-01_calm.wav",
        "AudioWAV/2000_ITH_SAD_XX.wav",
        "VideoFlash/1001_DFA_ANG_XX.flv",
        "AudioData/a01.wav",
        "AudioVisualClip/DC/a01.avi",
        "OAF_hello_ps.mp3",
        "me.wav",
        # Silently passed over: no recordings, or recordings that nobody could take for clips.
        "holiday.mp4",
        "README.md",
        "AudioData/Info.txt",
        "features/03-01-05-01-01-01-01.npy",
    )
    found, ignored, duplicates = relative(discover(root))
    assert (found, duplicates) == ([], [])
    assert ignored == {
        "Actor_01/03-02-05-01-01-01-01.wav": "RAVDESS song (vocal channel 02), not speech",
        "Actor_01/01-01-05-01-01-01-01.mp4": "RAVDESS video recording (modality 01), not an audio-only one",
        "Actor_01/02-01-05-01-01-01-01.mp4": "RAVDESS video recording (modality 02), not an audio-only one",
        "Actor_01/01_01_01_01_dogs-sitting_angry.wav": foreign,
        "Actor_01/03-01-05-01-01-01-01_calm.wav": (
            "the suffix _calm is not the emotion 'angry' that the RAVDESS name codes"
        ),
        "AudioWAV/2000_ITH_SAD_XX.wav": "CREMA-D has no speaker 2000",
        "VideoFlash/1001_DFA_ANG_XX.flv": (".flv is not read; the clip is taken from audio such as .wav or .flac"),
        "AudioData/a01.wav": ("a SAVEE name without its speaker: the folder is 'AudioData', not DC, JE, JK or KL"),
        "AudioVisualClip/DC/a01.avi": ".avi is not read; the clip is taken from audio such as .wav or .flac",
        "OAF_hello_ps.mp3": "TESS has no word 'hello'",
        "me.wav": foreign,
    }
    assert list(ignored) == sorted(ignored)


def test_what_macos_leaves_behind_is_skipped(make):
    root = make(
        "DC/a01.wav",
        "DC/._a01.wav",
        "DC/.DS_Store",
        "__MACOSX/DC/a01.wav",
        "__MACOSX/DC/._a01.wav",
        ".cache/DC_a02.wav",
    )
    found, ignored, duplicates = relative(discover(root))
    assert found == [("DC/a01.wav", "savee/DC_a01")]
    assert (ignored, duplicates) == ({}, [])


def test_links_are_followed_but_not_twice(make, tmp_path):
    root = make("real/DC_a01.wav")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "DC_a02.wav").touch()
    try:
        (root / "real" / "loop").symlink_to(root, target_is_directory=True)
        (root / "again").symlink_to(root / "real", target_is_directory=True)
        (root / "out").symlink_to(elsewhere, target_is_directory=True)
        (root / "real" / "DC_a03.wav").symlink_to(elsewhere / "missing.wav")
    except OSError:
        pytest.skip("this system makes no links")
    found, ignored, duplicates = relative(discover(root))
    assert found == [
        ("again/DC_a01.wav", "savee/DC_a01"),
        ("out/DC_a02.wav", "savee/DC_a02"),
        # A broken link is a clip that cannot be opened, which the reader says; it must not vanish here.
        ("again/DC_a03.wav", "savee/DC_a03"),
    ]
    assert (ignored, duplicates) == ({}, [])


def test_a_link_to_itself_is_named_and_the_rest_is_found(make):
    root = make("DC_a01.wav")
    for name in ("loop", "DC_a02.wav", "loop.wav"):
        try:
            (root / name).symlink_to(root / name)
        except OSError:
            pytest.skip("this system makes no links")
    found, ignored, _ = relative(discover(root))
    assert [path for path, _ in found] == ["DC_a01.wav", "DC_a02.wav"]
    assert ignored["loop"] == "a link that leads nowhere"
    assert set(ignored) == {"loop", "loop.wav"}


def test_a_missing_folder_and_a_file_in_its_place(make):
    root = make("archive.zip")
    with pytest.raises(InputError, match="nowhere does not exist; give the folder that holds the corpora"):
        discover(root / "nowhere")
    with pytest.raises(InputError, match=r"archive\.zip is a file, not a folder; unpack it"):
        discover(root / "archive.zip")


def test_unreadable_folder(make, monkeypatch):
    root = make("open/DC_a01.wav", "closed/DC_a02.wav")
    iterdir = Path.iterdir

    def refuse(folder):
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"closed cannot be read \(Permission denied\)"):
        discover(root)
