"""ICD-bench: instance-conditional knowledge distillation for object detection, and its suite."""

__version__ = "0.1.0"
