"""Reads through workers of a torch DataLoader that were forked and others that were spawned::

python loader.py '{"files": ["00.mp4"]}'
{"fork": true, "spawn": true, "opened before": "VideoError: ..."}
"""

from __future__ import annotations

import json
import sys
from typing import Any

from torch.utils.data import DataLoader

from longvt_plugins import TimeSpan, Video
from longvt_plugins.errors import VideoError
from longvt_plugins.testing import read_stamp

FPS = 5


class Crops:
    """The n-th item are three frames of a file, a second apart, by number."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return 12

    def __getitem__(self, number: int) -> list[int]:
        with Video.open(self.files[number % len(self.files)]) as video:
            return stamps(video, number)


class Opened:
    """The same from one video that was opened before the workers were."""

    def __init__(self, video: Video) -> None:
        self.video = video

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> list[int]:
        return stamps(self.video, number)


def stamps(video: Video, number: int) -> list[int]:
    start = number / 2 + 0.1
    return [read_stamp(frame.image) for frame in video.clip(TimeSpan(start, start + 3))]


def read(crops: Any, how: str, workers: int) -> list[list[int]]:
    loader = DataLoader(
        crops, batch_size=None, num_workers=workers, multiprocessing_context=how, collate_fn=None, timeout=120
    )
    return list(loader)


def main() -> None:
    files = json.loads(sys.argv[1])["files"]
    right = [[int((number / 2 + 0.1 + second) * FPS) for second in range(3)] for number in range(12)]
    # A spawned worker imports torch for itself, which takes longer than all the rest.
    told: dict[str, Any] = {
        how: read(Crops(files), how, workers) == right for how, workers in (("fork", 3), ("spawn", 1))
    }
    with Video.open(files[0]) as video:
        try:
            told["opened before"] = read(Opened(video), "fork", 1)
        except VideoError as error:
            told["opened before"] = f"{type(error).__name__}: {error}"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
