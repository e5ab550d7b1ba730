"""The one client for OpenAI-compatible chat servers, and what a chat backend is.

::

    config = ChatConfig(base_url="http://localhost:8000/v1", model="judge", cache_dir="runs/cache")
    client = ChatClient.from_config(config)
    completion = await client.complete(messages, [tool.schema], max_tokens=512, temperature=0.0)
    completion.message["tool_calls"]     # arguments as a dict; as text where the server sent no JSON object
    client.usage.cost, client.health.down_since

A failure is a :class:`~longvt_plugins.errors.ChatError`, never a text that could be taken for an answer.
Nothing that a server sends is evaluated. It does not run tools: see :mod:`longvt_plugins.agent`.
"""

from longvt_plugins.chat.backend import ChatBackend, Completion, StreamingBackend
from longvt_plugins.chat.client import ChatClient
from longvt_plugins.chat.config import ChatConfig
from longvt_plugins.chat.stream import Hear
from longvt_plugins.chat.usage import ChatHealth, ChatUsage, CostBudget
from longvt_plugins.chat.wire import encode_image, to_wire

__all__ = [
    "ChatBackend",
    "ChatClient",
    "ChatConfig",
    "ChatHealth",
    "ChatUsage",
    "Completion",
    "CostBudget",
    "Hear",
    "StreamingBackend",
    "encode_image",
    "to_wire",
]
