"""Conversations with their pictures: what a model is shown in SFT, which is what the environment shows in RL.

::

    replayer = Replayer(EnvironmentConfig(overview_max_frames=256))
    replayer.messages(conversation)     # system, overview and question, thoughts and calls, the tools' replies

A conversation with a question goes through the environment itself: it asks, and its tools answer the recorded calls, so
that a trace recorded elsewhere holds the very tokens that a rollout would. Thoughts and answers stay as recorded. It
counts no tokens: see :mod:`trl_ext.dataset.measure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from longvt_plugins.conversation import Form, system_message
from longvt_plugins.errors import VideoError
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.rows import Row
from longvt_plugins.tools.context import frame_blocks
from longvt_plugins.transcript import is_error_reply
from longvt_plugins.types import Block, Message, text_of
from longvt_plugins.video.library import VideoLibrary
from trl_ext.dataset.conversations import Conversation
from trl_ext.dataset.faults import DataFault
from trl_ext.dataset.frames import with_frames
from trl_ext.dataset.rollout_traces import messages_to_sft
from trl_ext.environment import EnvironmentConfig, VideoEnvironment, make_environment


class Replayer:
    """Shows conversations as an environment would.

    Args:
        config: What rollouts see and may do; the form of the prompt is that of each conversation.
        plugins: Where the tools and the reader come from; None loads what is installed.
        library: Opens the videos instead of the environment's own library.
    """

    def __init__(
        self,
        config: EnvironmentConfig | None = None,
        plugins: PluginManager | None = None,
        library: VideoLibrary | None = None,
    ) -> None:
        self.config = config if config is not None else EnvironmentConfig()
        plugins = plugins if plugins is not None else create_plugin_manager()
        self._schemas = [tool.schema for tool in plugins.select_tools(self.config.tools)]
        self._class = make_environment(self.config, plugins)
        if library is not None:
            self._class.library = library

    def messages(self, conversation: Conversation) -> list[Message]:
        """The conversation with PIL images, or paths where pictures lie in files, ready for a chat template.

        Raises:
            DataFault: A tool that refuses a call which it granted when the conversation was recorded, or that is
                not among those of the configuration.
            VideoError: A video cannot be read.
        """
        if conversation.question is None:
            return self._as_recorded(conversation)
        return self._asked_anew(conversation, conversation.question)

    def prompt(self, row: Row) -> list[Message]:
        """What a question of RL shows before the first turn, the tools described as the chat template does it.

        Raises:
            VideoError: A video cannot be read.
        """
        environment = self._class()
        opening = environment.reset(**row)
        self._check(environment)
        system = system_message(self.config.form, prompts_dir=self.config.prompts_dir)
        return messages_to_sft([system, {"role": "user", "content": opening}], self._schemas)

    def close(self) -> None:
        """Closes the videos."""
        self._class.library.close()

    def _as_recorded(self, conversation: Conversation) -> list[Message]:
        library, where = self._class.library, conversation.id
        messages = with_frames(conversation.messages, conversation.videos, library, where=where)
        for message in messages:
            if isinstance(content := message["content"], list):
                blocks = [self._overviews(block, conversation.videos) for block in cast(list[Any], content)]
                message["content"] = [block for group in blocks for block in group]
        return messages_to_sft(messages, self._schemas) if conversation.tools else messages

    def _overviews(self, block: Mapping[str, Any], videos: Mapping[str, str]) -> list[Block]:
        if block["type"] != "video":
            return [cast(Block, block)]
        with self._class.library.open(videos[block["video"]]) as video:
            return frame_blocks(video.overview(self.config.overview), video=block["video"], labels=self.config.labels)

    def _asked_anew(self, conversation: Conversation, question: str) -> list[Message]:
        environment = self._class()
        # The environment takes rows; of the answer it shows nothing.
        opening = environment.reset(id=conversation.id, videos=conversation.videos, question=question, answer="-")
        self._check(environment)
        system = system_message(self._form(conversation), prompts_dir=self.config.prompts_dir)
        messages: list[Message] = [system, {"role": "user", "content": opening}]
        asked, turns = False, 0
        waiting: list[Any] = []
        for message in conversation.messages:
            if message["role"] == "assistant":
                messages.append(message)
                waiting = list(message.get("tool_calls", ()))
                # What a trainer would tell the environment, which refuses calls of the last turn.
                turns += 1
                environment.progress.turn = turns
            elif message["role"] == "tool":
                call = waiting.pop(0)["function"]
                content = self._reply(environment, call, message, conversation.id)
                messages.append({**message, "content": content})
            elif message["role"] == "user":
                # The first one has been asked by the environment.
                messages += [message] if asked else []
                asked = True
        return messages_to_sft(messages, self._schemas if conversation.tools else [])

    def _reply(
        self, environment: VideoEnvironment, call: Mapping[str, Any], recorded: Message, where: str
    ) -> list[Block]:
        name, arguments = call["name"], call["arguments"]
        if name not in self.config.tools:
            known = ", ".join(self.config.tools) or "none"
            raise DataFault("tool call", where, f"a call of {name!r}; the tools are {known}: add it to `tools`")
        reply: list[Block] = getattr(environment, name)(**arguments)
        self._check(environment)
        text = text_of({"role": "tool", "content": reply})
        if is_error_reply(text) and not is_error_reply(text_of(recorded)):
            raise DataFault("refused call", where, f"{name}({arguments}): {text}")
        return reply

    def _check(self, environment: VideoEnvironment) -> None:
        if environment.failure is not None:
            raise VideoError(environment.failure)

    def _form(self, conversation: Conversation) -> Form:
        if conversation.tools:
            return "tool"
        first = next(message for message in conversation.messages if message["role"] == "assistant")
        return "reasoning" if "<think>" in text_of(first) else "non_think"
