"""What is known of the files that LongVT published: their names, where they come from, how they put a question.

::

    longvt_sft_tvg_6k3.parquet  longvt_rl_selfqa_1k6.parquet  longvt_rft_selftrace_15k3.parquet
    tvg_1.zip, tvg_2.zip ...    their videos and frames

Projects that read these files were looked at, the files themselves were not: a reader refuses what it cannot map. It
downloads nothing; it tells the line that does.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ANNOTATIONS = "longvideotool/LongVT-Parquet"
VIDEOS = "longvideotool/LongVT-Source"

_FILE = re.compile(r"longvt_(?P<stage>sft|rl|rft)_(?P<source>[a-z0-9_]+?)_\d+[k\d]*\.parquet")

_INSTRUCTIONS = re.compile(
    r"\s*(?:You FIRST think about|Think first, call \*\*crop_video\*\*|The [Vv]ideo path for this video is).*",
    re.DOTALL,
)
"""Where a question ends and the instructions that every question carries begin: ours stand in the system message."""

_PATH = re.compile(r"[Vv]ideo path for this video is:?\s*(?P<path>\S+\.\w{2,4})")
_PLACEHOLDER = re.compile(r"<(?:video|image)>\n?")


def source_of(path: Path) -> str | None:
    """The source that a published file is of, ``tvg`` for ``longvt_sft_tvg_6k3.parquet``; None for other names."""
    found = _FILE.fullmatch(path.name)
    if found is None:
        return None
    # The validation questions of RL are in an archive named after both.
    return "rl_val" if (found["stage"], found["source"]) == ("rl", "val") else found["source"]


def annotations_line(path: Path) -> str | None:
    """The command that downloads a published file to where it was looked for; None for other names."""
    if source_of(path) is None:
        return None
    return f"hf download {ANNOTATIONS} {path.name} --repo-type dataset --local-dir {shlex.quote(str(path.parent))}"


def videos_line(path: Path, folder: Path) -> str | None:
    """The command that downloads the archives with a published file's videos, to be unpacked where they are."""
    source = source_of(path)
    if source is None:
        return None
    place = shlex.quote(str(folder))
    pattern = shlex.quote(f"{source}_*.zip")
    return f"hf download {VIDEOS} --repo-type dataset --include {pattern} --local-dir {place}"


def without_instructions(text: str) -> str:
    """A question without placeholders, instructions and the video's path.

    >>> without_instructions("<video>Who wins? Think first, call **crop_video** if needed, then answer. ...")
    'Who wins?'
    """
    return _INSTRUCTIONS.sub("", without_placeholders(text)).strip()


def without_placeholders(text: str) -> str:
    """Text without ``<video>`` and ``<image>``, which stand for media that are blocks here."""
    return _PLACEHOLDER.sub("", text)


def path_in(text: str) -> str | None:
    """The path that a question names its video by, if it does."""
    found = _PATH.search(text)
    return found["path"].rstrip(".,") if found is not None else None
