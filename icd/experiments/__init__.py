"""What to run and what came out: tracks, runs, ablations, tables, figures. Never imports torch."""
