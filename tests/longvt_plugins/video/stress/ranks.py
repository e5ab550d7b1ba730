"""One of several processes that accelerate launched: each reads its own share, and one tells the sum::

accelerate launch --multi_gpu --num_processes 2 ranks.py '{"files": ["00.mp4"]}'
{"processes": 2, "device": "cpu", "right": 24, "of": 24}
"""

from __future__ import annotations

import json
import sys

import torch
from accelerate import Accelerator

from longvt_plugins import TimeSpan, Video
from longvt_plugins.testing import read_stamp

FPS, TURNS = 5, 4


def main() -> None:
    accelerator = Accelerator()
    files = json.loads(sys.argv[1])["files"]
    right = asked = 0
    for turn in range(TURNS):
        file = files[(turn * accelerator.num_processes + accelerator.process_index) % len(files)]
        with Video.open(file) as video:
            frames = video.clip(TimeSpan(turn + 0.1, turn + 3.1))
        right += sum(read_stamp(frame.image) == int((turn + 0.1 + n) * FPS) for n, frame in enumerate(frames))
        asked += 3
        accelerator.wait_for_everyone()
    sums = accelerator.reduce(torch.tensor([right, asked], device=accelerator.device))
    if accelerator.is_main_process:
        told = {"processes": accelerator.num_processes, "device": accelerator.device.type}
        print(json.dumps(told | {"right": int(sums[0]), "of": int(sums[1])}))
    accelerator.end_training()


if __name__ == "__main__":
    main()
