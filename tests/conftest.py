"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shelfwise", deadline=None)  # shared machines stall; pytest's own limits are enough
settings.load_profile("shelfwise")
os.environ["SHELFWISE_CACHE"] = ""  # tests fit their baselines; the test of the cache has its own folder


@pytest.fixture(scope="session")
def goodbooks() -> Path:
    """The folder of goodbooks-10k, Kaggle edition, below SHELFWISE_DATA; skips where it is not."""
    root = os.environ.get("SHELFWISE_DATA")
    if not root:
        pytest.skip("SHELFWISE_DATA is not set: it names the folder that holds goodbooks-10k")
    folder = Path(root).expanduser() / "goodbooks-10k"
    if not folder.is_dir():
        pytest.skip(f"no goodbooks-10k in SHELFWISE_DATA: {folder} is not a folder")
    return folder
