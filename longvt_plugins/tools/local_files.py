"""Types of options that name something on this machine: what is not there is told where the tool is named.

::

    def search_frames(ctx: ToolContext, video_path: str, query: str, *, model: ModelFolder) -> list[Block]: ...

    tools: ["search_frames:model=/nowhere"]      # refused before anything is loaded, not at the model's first call
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _model_folder(text: str) -> str:
    folder = Path(text).expanduser().absolute()
    if not (folder / "config.json").is_file():
        raise ValueError(f"no model in {folder} (it has no config.json); nothing is downloaded")
    return str(folder)


def _existing_file(text: str) -> str:
    file = Path(text).expanduser().absolute()
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    return str(file)


ModelFolder = Annotated[str, AfterValidator(_model_folder)]
"""A folder with a model, as transformers saves one."""

ExistingFile = Annotated[str, AfterValidator(_existing_file)]
