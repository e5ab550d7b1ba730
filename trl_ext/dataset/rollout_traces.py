"""Rollouts as conversations to imitate (RFT).

::

    schemas = [tool.schema for tool in plugins.select_tools(["crop_video"])]
    write_sft("rft.parquet", rollouts_to_sft(select_rft(rollouts)[0], schemas))

It selects nothing: see :mod:`longvt_plugins.selection`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from longvt_plugins.chat_templates import render_tools_into_system
from longvt_plugins.errors import ConfigError
from longvt_plugins.rollouts import Rollout
from longvt_plugins.types import Message, text_of
from longvt_plugins.video.library import VideoLibrary
from trl_ext.dataset.frames import with_frames
from trl_ext.dataset.sft_file import SftExample


def messages_to_sft(messages: Sequence[Message], schemas: Sequence[Mapping[str, Any]] = ()) -> list[Message]:
    """A conversation as SFT wants it: the tools described in the system message.

    TRL drops ``tools`` for vision data; the text is the one that the chat template makes of them, so that the
    model reads the same in SFT and in RL.

    Args:
        messages: A conversation that starts with a system message, as the agent and the trace generator make them.
        schemas: Of the tools that the conversation may call, :attr:`Tool.schema`.

    Raises:
        ConfigError: Tools but no system message to describe them in.
    """
    if not schemas:
        return list(messages)
    if not messages or messages[0]["role"] != "system":
        raise ConfigError("a conversation with tools must start with a system message, which describes them")
    described = render_tools_into_system(text_of(messages[0]), schemas)
    return [{"role": "system", "content": described}, *messages[1:]]


def rollouts_to_sft(
    rollouts: Iterable[Rollout],
    schemas: Sequence[Mapping[str, Any]],
    *,
    source: str = "rollout",
    library: VideoLibrary | None = None,
) -> Iterator[SftExample]:
    """Rollouts as conversations to imitate (RFT): their frames are read from the videos again.

    Args:
        rollouts: Those worth imitating, see :func:`longvt_plugins.selection.select_rft`.
        schemas: Of the tools that the rollouts might call.
        source: Where the conversations come from, for the column of that name.
        library: Opens the videos; None is one of its own, with the built-in reader.

    Raises:
        ConfigError: A frame's video is not one of its row's.
        VideoError: A video cannot be read.
    """
    with contextlib.nullcontext(library) if library is not None else VideoLibrary() as videos:
        for rollout in rollouts:
            messages = with_frames(rollout.messages, rollout.row["videos"], videos, where=f"rollout {rollout.id}")
            yield {"id": rollout.id, "source": source, "messages": messages_to_sft(messages, schemas)}
