"""One process of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from video_peers.catalogue import Entry


@dataclass(frozen=True)
class Turn:
    """One process: a peer, what it does, and whether on one core with one thread or as the library likes it."""

    entry: Entry
    jobs: tuple[str, ...]
    one_core: bool = True
