"""Exported models: what they state about themselves and how to run them, without PyTorch."""
