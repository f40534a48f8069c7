"""Figures of what the runs of an ablation do: attention, detections, training curves, errors."""
