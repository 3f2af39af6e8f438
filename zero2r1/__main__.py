"""`python -m zero2r1` is the command `zero2r1`."""

import sys

from zero2r1.cli import main

if __name__ == "__main__":
    sys.exit(main())
