"""Write the list of published files that the package contains, from a manifest of the 12,162 files.

Run: python scripts/list_originals.py MANIFEST.csv.gz src/hf_ser/corpora/data/originals.txt.xz

The manifest has the columns `path`, `sha256`, `pcm_sha1` (of the samples as 16-bit integers, channels
interleaved), `frames`, `sampling_rate`, `rms` and `peak` (both on the scale of 16-bit integers).
"""

import csv
import gzip
import lzma
import sys
from pathlib import Path

from hf_ser.corpora import parse
from hf_ser.corpora.originals import PCM_DIGITS, SHA256_DIGITS
from hf_ser.dataset.hygiene import FULL_SCALE


def main(manifest: str, target: str) -> None:
    """Read the manifest and write the list, column by column: columns compress better than rows."""
    lines = []
    with gzip.open(manifest, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            clip = parse(row["path"])
            if clip is None:
                raise SystemExit(f"{row['path']} is not a clip of a known corpus")
            lines.append(
                (
                    clip.clip_id,
                    row["sha256"][:SHA256_DIGITS],
                    row["pcm_sha1"][:PCM_DIGITS],
                    row["frames"],
                    row["sampling_rate"],
                    f"{float(row['rms']):.1f}",
                    str(int(int(row["peak"]) >= FULL_SCALE)),
                )
            )
    columns = zip(*sorted(lines), strict=True)
    text = "\n\n".join("\n".join(column) for column in columns)
    Path(target).write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
