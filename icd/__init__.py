"""ICD-bench: knowledge distillation for object detection, as a reproducible benchmark."""

__version__ = "0.1.0"
