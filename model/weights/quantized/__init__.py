"""Weights published in few bits, made into matrices of float32 while they are read."""
