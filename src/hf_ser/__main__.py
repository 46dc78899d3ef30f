"""`python -m hf_ser` is `hf-ser`."""

import sys

from hf_ser.cli import main

sys.exit(main())
