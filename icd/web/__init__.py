"""The interactive page of a track's results: one file, without network, from the raw numbers."""
