"""The three-layer perceptron that encodes queries and predicts the auxiliary task."""

from __future__ import annotations

from torch import nn


class MLP(nn.Sequential):
    """Linear - ReLU - Linear - ReLU - Linear, hidden width ``channels``."""

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, outputs),
        )
