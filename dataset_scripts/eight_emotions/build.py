"""Build the eight-emotions data set and, on request, publish it.

Run: python build.py --ravdess DIR|ZIP --crema-d DIR|ZIP --tess DIR|ZIP --savee DIR|ZIP --out DIR [--push-to USER/NAME]

It calls `hf-ser build` and has the same options. It is not part of the published repository: recent releases of
`datasets` refuse to load a data set with a script at its root.
"""

import sys

from hf_ser.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["build", *sys.argv[1:]]))
