"""A worker of one of the libraries, in a process of its own: python -m benchmarks.rivals.working Arq URL DATABASE."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.rivals.library import Library


def main() -> None:
    """Run jobs until SIGTERM."""
    name, url, database = sys.argv[1:]
    library: Library = getattr(import_module(f"benchmarks.rivals.{name.lower()}"), name)()
    library.work(url, Path(database))


if __name__ == "__main__":
    main()
