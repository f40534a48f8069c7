"""Experiment trackers (TensorBoard, Weights & Biases, MLflow) through mmengine's backends."""
