"""Data sets made or read by the benchmark."""

# Part of a synthetic data set's identity: raise it whenever a pixel or an annotation changes.
GENERATOR_VERSION = 1
