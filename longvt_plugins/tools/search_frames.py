"""``search_frames``: the frames that look most like a text, by a CLIP- or SigLIP-class model in a local folder.

::

    tools: ["search_frames:model=/models/siglip2-base-patch16-224"]
    tools: ["search_frames:model=/models/clip:frames=16:step=2:index=/scratch/longvt:device=cuda"]

Needs ``pip install 'longvt-plugins[tools]'``. The first search of a video decodes and encodes it, a frame each ``step``
seconds; what comes of it lies in ``index``, by default beside the decoded frames (``video_cache_dir``), and that of a
few videos in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from longvt_plugins.hookspecs import RegisterTool, hookimpl
from longvt_plugins.tools.context import ToolContext, count_frames
from longvt_plugins.tools.found_lines import check_query
from longvt_plugins.tools.local_files import ModelFolder
from longvt_plugins.types import Block


def search_frames(  # noqa: D417 - ctx is hidden
    ctx: ToolContext,
    video_path: str,
    query: str,
    *,
    model: ModelFolder,
    frames: Annotated[int, Field(ge=1, le=64)] = 8,
    step: Annotated[float, Field(gt=0.01, le=3600)] = 1.0,
    index: str | None = None,
    device: str = "cpu",
) -> list[Block]:
    """Find the frames of the video that look most like a description.

    Args:
        video_path: Name of the video, as given in the question.
        query: What the frames should show.
        model: Folder with a model of text and pictures, as transformers saves it.
        frames: How many are shown at most.
        step: Seconds from one frame that is looked at to the next.
        index: Folder where what was encoded is kept.
        device: Where the model runs, such as cpu or cuda.

    Returns:
        The frames in order of time, each after its time in seconds.
    """
    from longvt_plugins.tools.frame_index import index_video, load_encoder

    check_query(query)
    video = ctx.open(video_path)
    encoder = load_encoder(model, device)
    kept = index if index is not None else ctx.library.config.cache_dir
    folder = Path(kept).expanduser().absolute() if kept is not None else None
    found = index_video(video, encoder, step=step, folder=folder, report=ctx.report)
    best = found.search(encoder.text(query), frames)

    def show(count: int) -> list[Block]:
        shown = video.frames(sorted(best[:count]), ctx.crop)
        said = f"{count_frames(len(shown))} of {len(found.times)} that look most like the query, in order of time:"
        return [ctx.text(said), *ctx.frames(shown, video=video_path, labels=ctx.crop.labels)]

    return ctx.fit(len(best), show)


@hookimpl
def register_tools(register: RegisterTool) -> None:  # noqa: D103 - the hook's own docstring says it
    register(search_frames)
