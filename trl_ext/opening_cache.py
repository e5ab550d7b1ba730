"""Keeps what rollouts were shown first, so that a group of rollouts reads its video once.

>>> cache = OpeningCache(max_entries=64, max_bytes=2**30)
>>> cache.get(key, make) is not cache.get(key, make)      # the blocks are new dicts, the images are shared
True

GRPO resets 8 or 16 environments with the same row, one after another. A cache lives as long as its
process and is bounded in entries and bytes; one opening that is larger than the whole cache is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

from PIL import Image

from longvt_plugins.types import Block


class OpeningCache:
    """Content blocks by key, the least recently used leaving first.

    Args:
        max_entries: How many openings are kept.
        max_bytes: How much memory their pixels may take together.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[list[Block], int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Memory that the pixels of all kept openings take."""
        return self._bytes

    def get(self, key: Hashable | None, make: Callable[[], list[Block]]) -> list[Block]:
        """The blocks of this key.

        Args:
            key: What decides the blocks; None makes them anew and keeps nothing.
            make: Makes them where they are not kept.

        Returns:
            A list of new dicts: whoever gets them may add to them.
        """
        if key is not None and key in self._kept:
            self._kept.move_to_end(key)
            blocks = self._kept[key][0]
        else:
            blocks = make()
            self._keep(key, blocks)
        return [block.copy() for block in blocks]

    def _keep(self, key: Hashable | None, blocks: list[Block]) -> None:
        size = sum(_pixel_bytes(block) for block in blocks)
        if key is None or size > self._max_bytes or self._max_entries < 1:
            return
        self._kept[key] = ([block.copy() for block in blocks], size)
        self._bytes += size
        while len(self._kept) > self._max_entries or self._bytes > self._max_bytes:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= gone


def file_identities(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...] | None:
    """Path, size and time of change of every file; None where a file cannot be looked up: opening it says why."""
    try:
        found = [(path, path.stat()) for path in paths]
    except OSError:
        return None
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)


def _pixel_bytes(block: Block) -> int:
    image = block["image"] if block["type"] == "image" else None
    return image.width * image.height * len(image.getbands()) if isinstance(image, Image.Image) else 0
