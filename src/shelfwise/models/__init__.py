"""Models: indices in, stars and scores out. One file each."""
