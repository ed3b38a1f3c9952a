"""Lets `python -m hybridws` do what the command `hybridws` does."""

import sys

from hybridws.cli import main

if __name__ == "__main__":
    sys.exit(main())
