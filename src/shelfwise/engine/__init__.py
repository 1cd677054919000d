"""One seam for work that is spread: a function over blocks, its results in the order of the blocks.

Two executors stand behind it: this machine (local.py), by threads of one process or by processes, and a Ray cluster
(cluster.py). Whoever has work to spread asks an Engine and knows neither. Results come in the order of the blocks, so
that sums over them are the same however many workers there are.
"""

from shelfwise.engine.contract import Engine, EngineName, open_engine
from shelfwise.engine.local import HERE
from shelfwise.engine.threads import in_threads, shared_by_threads, sharing_threads

__all__ = ["HERE", "Engine", "EngineName", "in_threads", "open_engine", "shared_by_threads", "sharing_threads"]
