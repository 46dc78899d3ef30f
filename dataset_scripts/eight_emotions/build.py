"""Build the eight-emotions data set and, if asked, publish it: the whole way in one script.

Run: python build.py --ravdess DIR|ZIP --crema-d DIR|ZIP --tess DIR|ZIP --savee DIR|ZIP --out DIR [--push-to USER/NAME]

The same options as `hf-ser build`, which it is. It stays out of the published repository: a script at the root of
a data set makes recent releases of `datasets` refuse to load it.
"""

import sys

from hf_ser.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["build", *sys.argv[1:]]))
