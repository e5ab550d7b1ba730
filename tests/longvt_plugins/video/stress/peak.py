"""The most memory, in megabytes, that an overview of small frames took: ``{"frames": 200, "peak": 74.1}``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from longvt_plugins import FrameSampling, Video

asked = json.loads(sys.argv[1])
sampling = FrameSampling(fps=2, max_frames=asked["frames"], max_pixels=56 * 56, scaling=asked["scaling"])
with Video.open(asked["file"]) as video:
    frames = video.overview(sampling)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
assert peak is not None
print(json.dumps({"frames": len(frames), "peak": int(peak[1]) / 1024}))
