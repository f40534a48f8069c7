"""What a sum over objects is divided by, when several processes share a batch."""

from __future__ import annotations

from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def mean_count(count: Tensor, minimum: int = 0) -> Tensor:
    """The mean over processes of a number of objects; of all of them at least ``minimum``.

    The mean over processes of (sum / this) is the sum over the whole batch by its count.

    Args:
        count: scalar, of this process. It is left as it is.
    """
    processes = get_world_size()
    if processes == 1:
        return count.clamp(min=minimum)
    total = count.float()  # a copy, unless it is one already
    total = total.clone() if total is count else total
    all_reduce(total)
    return total.clamp(min=minimum) / processes
