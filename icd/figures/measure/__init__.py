"""Raw numbers that pictures are drawn from; each module writes one CSV."""
