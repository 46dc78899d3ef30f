"""`python -m hf_ser` is `hf-ser`."""

import sys

from hf_ser.cli import main

if __name__ == "__main__":
    sys.exit(main())
