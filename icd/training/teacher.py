"""The frozen teacher, and the images as it expects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from icd.methods.tokens import Size


class Teacher:
    """A detector in eval mode, without gradients, never trained or saved.

    Deliberately not an ``nn.Module``: a module that holds a Teacher does not register the teacher's
    parameters, so they stay out of its state_dict, its optimiser, DDP and ``init_weights``. Deep
    copies share the teacher.

    Args:
        detector: an mmdet detector with its weights loaded.
    """

    detector: Any  # an nn.Module with mmdet's extract_feat, which has no types

    def __init__(self, detector: nn.Module) -> None:
        self.detector = detector.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self

    @torch.no_grad()  # inference_mode is no faster, and losses could not save its tensors
    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """FPN levels, each [N, C, h, w], of normalised and padded images [N, 3, H, W]."""
        return tuple(self.detector.extract_feat(images))

    @torch.no_grad()
    def predictions(self, pyramid: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """What the head of a one-stage detector predicts, each kind by level."""
        return tuple(self.detector.bbox_head(pyramid))


class Renormalise(nn.Module):
    """Converts images normalised for the student into images normalised for the teacher.

    Args:
        student, teacher: the data preprocessors of the two detectors.
    """

    scale: Tensor  # [3, 1, 1]
    shift: Tensor  # [3, 1, 1]

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
        """Images [N, 3, H, W]; the padding, outside each (height, width), is zero again."""
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
    """True if the network expects RGB; images are read from disk as BGR."""
    return bool(preprocessor._channel_conversion)
