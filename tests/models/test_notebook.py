"""The notebook's architectures: what the contract suite cannot see."""

from __future__ import annotations

import numpy as np
import pytest

from shelfwise.data.scale import Scale
from shelfwise.data.shelves import Shelves
from shelfwise.models.notebook import BookNetwork, NotebookConfig, NotebookModel, ReaderTable


def test_new_readers_are_folded_in_on_the_device_of_the_network() -> None:
    """As in validation on a GPU. The device 'meta' is everywhere, and refuses only to give its numbers back."""
    config = NotebookConfig(kind="ncf", embedding_dim=4)
    books, readers = BookNetwork(config, 5, None).to("meta"), ReaderTable(config, 3).to("meta")
    model = NotebookModel(config, Scale(1, 5), books, readers, np.zeros(5, dtype=np.int32))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        model._fit_rows(Shelves.build([0, 1], [1, 2], [5, 3], 2))
