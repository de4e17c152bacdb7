"""What the studies have measured, put in the page of experiments: no number is typed by hand.

``python benchmarks/experiments.py study-compactness study-omega …``

Each folder is a result of ``cellsynth study``; studies that are not given are said to be not run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cellsynth.errors import CellsynthError
from cellsynth.studies.experiments_page import update_page

PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", help="results of cellsynth study")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    missing = update_page(given.page, given.folders, given.page.parent / "images")
    print(f"wrote {given.page}; not run: {', '.join(missing) or 'none'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CellsynthError as error:
        sys.exit(str(error))
