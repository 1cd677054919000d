"""How a gradient model learns: the one loop, and checkpoints to go on from."""
