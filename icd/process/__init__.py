"""What surrounds a run: devices, launching, locks, interruption, failures."""
