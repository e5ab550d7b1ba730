"""Whether a server takes what a rollout sends: a picture, a tool, a call in the history, a picture in the reply to it.

::

    asyncio.run(probe_server(chat_config, tools=True))      # findings, each with its cure; three short requests

What the model writes does not matter here: it may be any model. A server that refuses one of these requests would
refuse every question of an evaluation alike, and one that leaves a call in the text is well: the loop reads it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from longvt_plugins.chat import ChatClient, ChatConfig, Completion
from longvt_plugins.errors import ChatError, ChatRequestError
from longvt_plugins.finding import Finding, blocker, ok, warning
from longvt_plugins.tools.crop_video import crop_video
from longvt_plugins.tools.tool import Tool
from longvt_plugins.transcript import parse_turn
from longvt_plugins.types import Message, ToolCall, text_block, text_of

TURN_TOKENS = 64
"""Longest turn of the probe: a call of the tool has about 50."""

PATIENCE_SECONDS = 60.0
"""For each request, tried again or not: a server that has just been started compiles at the first one."""

PARSER_CURE = "vLLM: --enable-auto-tool-choice --tool-call-parser hermes, as recipes/eval/serve.sh has it"

_SIDE = 56
_CALL = ToolCall("call_1", "crop_video", {"video_path": "video_1.mp4", "start_time": 0, "end_time": 1})


async def probe_server(config: ChatConfig, *, tools: bool) -> list[Finding]:
    """Asks three short questions, or one where no tools are wanted.

    Args:
        config: How the server is asked; its cache is not used.
        tools: Whether rollouts will call tools.
    """
    config = replace(config, cache_dir=None, timeout=PATIENCE_SECONDS, total_timeout=PATIENCE_SECONDS)
    picture: Any = {"type": "image", "image": _picture()}
    question: Message = {"role": "user", "content": [text_block("0s"), picture, text_block("Look at video_1.mp4.")]}
    if not tools:
        return [await _see(config, question, [])]
    schema = [Tool.from_function(crop_video).schema]
    seen = await _see(config, question, schema)
    if seen.level == "blocker":
        return [seen]
    call: Message = {"role": "assistant", "content": "<think>x</think>", "tool_calls": [_CALL.to_message_entry()]}
    reply: Message = {
        "role": "tool", "tool_call_id": _CALL.id, "name": _CALL.name, "content": [text_block("1 frame:"), picture],
    }  # fmt: skip
    return [seen, await _call(config, question, schema), await _reply(config, [question, call, reply], schema)]


async def _see(config: ChatConfig, question: Message, schema: Sequence[Any]) -> Finding:
    try:
        completion = await _ask(config, [question], schema)
    except ChatRequestError as error:
        if schema and "tool" in str(error).lower():
            return blocker("server", f"it refuses tools: {error}", PARSER_CURE)
        return blocker("server", f"it refuses a picture: {error}", "serve a model that sees pictures")
    except ChatError as error:
        return blocker("server", str(error), "its own log says why")
    if not completion.prompt_tokens:
        return warning("server", "it answers, and counts no tokens", "none: tokens of the results will be 0")
    return ok("server", f"it answers, in {completion.seconds:.1f} s")


async def _call(config: ChatConfig, question: Message, schema: Sequence[Any]) -> Finding:
    forced = {"tool_choice": {"type": "function", "function": {"name": _CALL.name}}}
    asked = replace(config, extra_body={**(config.extra_body or {}), **forced})
    try:
        completion = await _ask(asked, [question], schema)
    except ChatError as error:
        return warning(
            "tools", f"no call can be forced, so none was seen: {error}", "none, if the model calls by itself"
        )
    if any(isinstance(call["function"]["arguments"], dict) for call in completion.message.get("tool_calls", ())):
        return ok("tools", "a forced call comes back parsed")
    if parse_turn(text_of(completion.message))[1]:
        return ok("tools", "a forced call comes back in the text, where it is read too")
    return warning("tools", "a forced call did not come back", PARSER_CURE)


async def _reply(config: ChatConfig, history: Sequence[Message], schema: Sequence[Any]) -> Finding:
    try:
        await _ask(config, history, schema)
    except ChatRequestError as error:
        refused = str(error)
    except ChatError as error:
        return blocker("replies", str(error), "its own log says why")
    else:
        where = "tool" if config.tool_images == "tool" else "user"
        return ok("replies", f"a call and pictures in a {where} message are taken")
    try:
        await _ask(replace(config, tool_images="user"), history, schema)
    except ChatError:
        return blocker("replies", f"it refuses a call in the history: {refused}", "a chat template that knows tools")
    return blocker("replies", f"it refuses pictures in a tool message: {refused}", "--model_args ...,tool_images=user")


async def _ask(config: ChatConfig, messages: Sequence[Message], schema: Sequence[Any]) -> Completion:
    client = ChatClient.from_config(config)
    try:
        return await client.complete(messages, schema, max_tokens=TURN_TOKENS)
    finally:
        await client.aclose()


def _picture() -> Any:
    from PIL import Image

    return Image.new("RGB", (_SIDE, _SIDE), "red")
