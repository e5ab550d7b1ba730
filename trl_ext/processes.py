"""What all processes of a distributed training say, brought together.

>>> gather("here")          # one process, or no torch at all
['here']
"""

from __future__ import annotations

import sys
from typing import TypeVar

T = TypeVar("T")


def gather(value: T) -> list[T]:
    """The values of all processes in the order of their ranks; every process must call it, in its main thread."""
    torch = sys.modules.get("torch")  # where nobody has imported torch there is one process
    if torch is None or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[T] = [value] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
