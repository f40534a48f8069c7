"""What lies in the folders of runs: their states, and what can be deleted."""
