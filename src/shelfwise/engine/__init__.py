"""One seam for work that is spread: a function over blocks, its results in the order of the blocks.

Two executors stand behind it: processes of this machine (local.py) and a Ray cluster (cluster.py). Whoever has work to
spread asks an Engine and knows neither. Results come in the order of the blocks, so that sums over them are the same
however many workers there are.
"""

from shelfwise.engine.contract import Engine, EngineName, open_engine
from shelfwise.engine.local import HERE

__all__ = ["HERE", "Engine", "EngineName", "open_engine"]
