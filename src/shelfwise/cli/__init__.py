"""The command line: one file per verb, each a thin call into the library."""

import os

# Before torch loads: threads that wait by spinning bring a machine with other work on it to a crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from shelfwise.cli.app import main

__all__ = ["main"]
