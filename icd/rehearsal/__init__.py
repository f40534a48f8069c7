"""A rehearsal: every kind of run in a plan does a few iterations before anyone trains for days."""
