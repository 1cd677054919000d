"""Shelfwise: what to read next, learned from readers' stars and from what books are about.

import shelfwise

data = shelfwise.load_dataset("goodbooks-10k")
run = shelfwise.train(data, shelfwise.TrainSettings(model="bias"))
shelfwise.save_run(run, "runs/bias")
recommender = shelfwise.Recommender.load("runs/bias")
recommender.recommend(ratings=[(1, 5), (7, 4)], n=10)
"""

from shelfwise.artifact import Run, load_run, save_run
from shelfwise.data.audit import Audit
from shelfwise.data.fetch import fetch
from shelfwise.data.sources import DataSet, load_dataset
from shelfwise.errors import ShelfwiseError
from shelfwise.experiment import TrainSettings, evaluate, train
from shelfwise.outside import OutsideRatings
from shelfwise.recommender import Recommender
from shelfwise.rules import Feedback, Rules
from shelfwise.version import __version__

__all__ = [
    "Audit",
    "DataSet",
    "Feedback",
    "OutsideRatings",
    "Recommender",
    "Rules",
    "Run",
    "ShelfwiseError",
    "TrainSettings",
    "__version__",
    "evaluate",
    "fetch",
    "load_dataset",
    "load_run",
    "save_run",
    "train",
]
