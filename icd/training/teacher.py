"""The frozen teacher, and the pictures as it wants them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from icd.methods.tokens import Size


class Teacher:
    """A detector that only looks: in eval mode, without gradients, never trained or saved.

    Deliberately no ``nn.Module``: a module that holds one does not see the teacher's parameters,
    so neither its state_dict, its optimiser, DDP nor ``init_weights`` do. Copies share it.

    Args:
        detector: an mmdet detector with its weights loaded.
    """

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict) -> Teacher:
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """FPN levels, each [N, C, h, w], of normalised and padded images [N, 3, H, W]."""
        return tuple(self.detector.extract_feat(images))


class Renormalise(nn.Module):
    """From images normalised for the student to images normalised for the teacher.

    Args:
        student, teacher: the data preprocessors of the two detectors.
    """

    def __init__(self, student: ImgDataPreprocessor, teacher: ImgDataPreprocessor) -> None:
        super().__init__()
        student_mean, student_std = _statistics(student)
        teacher_mean, teacher_std = _statistics(teacher)
        self.flip_channels = _is_rgb(student) != _is_rgb(teacher)
        if self.flip_channels:
            student_mean, student_std = student_mean.flip(0), student_std.flip(0)
        self.register_buffer("scale", student_std / teacher_std, persistent=False)
        shift = (student_mean - teacher_mean) / teacher_std
        self.register_buffer("shift", shift, persistent=False)
        self.identity = not self.flip_channels and bool(
            torch.equal(student_mean, teacher_mean) and torch.equal(student_std, teacher_std)
        )

    def forward(self, images: Tensor, image_sizes: Sequence[Size]) -> Tensor:
        """Images [N, 3, H, W] with the padding, outside of each (height, width), at zero."""
        if self.identity:
            return images
        if self.flip_channels:
            images = images.flip(1)
        images = images * self.scale + self.shift
        for image, (height, width) in zip(images, image_sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return images


def _statistics(preprocessor: ImgDataPreprocessor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each [3, 1, 1], in the order of the network's channels."""
    if not preprocessor._enable_normalize:
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    return preprocessor.mean.cpu(), preprocessor.std.cpu()


def _is_rgb(preprocessor: ImgDataPreprocessor) -> bool:
    """True if the network sees RGB; images are read from disk as BGR."""
    return bool(preprocessor._channel_conversion)
