"""What a processor needs to be fast."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator

import pytest
import torch

from icd.training.cpu import at_full_speed

PR_SET_THP_DISABLE = 41


@pytest.fixture
def small_pages() -> Iterator[None]:
    """No page is a huge one, of which 64 MiB have but a few."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    yield
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
@pytest.mark.skipif(torch.cuda.is_available(), reason="memory counts without a GPU alone")
def test_freed_memory_is_there_again_without_the_system(small_pages: None) -> None:
    def pages() -> int:
        """How many pages the system hands out for 64 MiB."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(2**24).add_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with at_full_speed():
        assert min(pages() for _ in range(5)) < 100
    pages()
    assert pages() > 1000, "nothing is kept any more"
