"""Features: what books are about, as vectors. No ratings in here."""
