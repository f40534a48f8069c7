"""What the method costs: time and memory, always as ratios of things measured in turn."""
