"""A data set small enough to train on in a test: tones whose pitch tells the label, by many speakers."""

import numpy as np
import pytest
import soundfile

from hf_ser.labels import EMOTIONS

SPEAKERS = {"train": 4, "validation": 2, "test": 3}


def write_clip(path, label, speaker, number, seconds=0.5):
    generator = np.random.default_rng(1000 * label + 10 * speaker + number)
    time = np.arange(int(16_000 * seconds)) / 16_000
    pitch = 120 * 1.45**label * (1 + 0.01 * speaker)
    tone = np.sin(2 * np.pi * pitch * time) + 0.3 * generator.normal(size=time.size)
    soundfile.write(path, (0.2 * tone).astype(np.float32), 16_000, subtype="PCM_16")


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """Return a `DatasetDict` with disjoint speakers and all eight labels in each part."""
    from datasets import Audio, ClassLabel, Dataset, DatasetDict

    folder = tmp_path_factory.mktemp("toy")
    parts, first = {}, 0
    for part, count in SPEAKERS.items():
        rows = {"audio": [], "emotion": [], "speaker": [], "corpus": [], "clip_id": []}
        for speaker in range(first, first + count):
            for label in range(8):
                name = f"{speaker}-{label}"
                path = folder / f"{name}.wav"
                write_clip(path, label, speaker, 0, seconds=0.4 + 0.05 * (label % 3))
                rows["audio"].append(str(path))
                rows["emotion"].append(label)
                rows["speaker"].append(f"speaker_{speaker}")
                rows["corpus"].append("toy_a" if speaker % 2 else "toy_b")
                rows["clip_id"].append(f"toy/{name}")
        first += count
        dataset = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
        parts[part] = dataset.cast_column("emotion", ClassLabel(names=list(EMOTIONS)))
    return DatasetDict(parts)
