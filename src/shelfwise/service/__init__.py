"""HTTP: lists for anybody, memory for readers who ask for it, and quiet nights for those who run it."""
