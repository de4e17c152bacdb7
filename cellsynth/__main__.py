"""``python -m cellsynth``, where the command itself is not on the path."""

import sys

from cellsynth.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
