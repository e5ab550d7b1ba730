"""Which model a name means, and how it wants to be asked.

::

    opened = open_model("tiny")                                     # the agent that ships with the package
    opened = open_model("checkpoints/rl")                           # a folder with a config.json, in this process
    opened = open_model("qwen", base_url="http://localhost:8000/v1")
    opened.backend, opened.name, opened.defaults

Nothing is downloaded, and nothing is read from the environment. A model that is too large for this process is
served by vLLM or SGLang and asked by its address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longvt_plugins.chat import ChatBackend, ChatClient, ChatConfig
from longvt_plugins.errors import ChatError, ChatReplyError, ChatUnavailableError, ConfigError

TINY_TURN = 64
"""Tokens of the longest turn of the shipped agent, as the demo evaluates it."""

_LIST_SECONDS = 10.0
_LONGEST_LIST = 1 << 20
_MODELS_TOLD = 8


@dataclass(frozen=True)
class OpenedModel:
    """A model, ready to be asked.

    Attributes:
        backend: Continues conversations.
        name: For rollouts and people.
        defaults: Settings of :class:`~longvt_plugins.agent.AgentConfig` that it was trained with.
        has_prices: Whether ``Completion.cost`` says anything.
    """

    backend: ChatBackend
    name: str
    defaults: dict[str, Any] = field(default_factory=dict)
    has_prices: bool = False


def open_model(
    name: str | None, *, base_url: str | None = None, device: str | None = None, dtype: str = "auto", **chat: Any
) -> OpenedModel:
    """Opens a model.

    Args:
        name: ``"tiny"``, a folder with a checkpoint, or the name of a model on the server. Without one, the
            server's only model.
        base_url: Address of an OpenAI-compatible API. A model of this machine is asked there and not here.
        device: Of a checkpoint, such as ``"cuda:0"``.
        dtype: Of a checkpoint.
        chat: Further fields of :class:`~longvt_plugins.chat.ChatConfig`, such as ``api_key`` and ``prices``.

    Raises:
        ConfigError: No such model, or a setting that makes no sense.
        ChatError: The server cannot be asked for its models.
    """
    from longvt_plugins.synthetic import TINY, resolve_model

    if name is None and base_url is None:
        raise ConfigError(
            "no model is named: --model tiny (shipped, for made videos), --model FOLDER, or --base-url ADDRESS"
        )
    if name is not None and (name == TINY or Path(name, "config.json").is_file()):
        defaults = preset_defaults("tiny") if name == TINY else {}
        return OpenedModel(_load(resolve_model(name), device, dtype), name, defaults)
    if base_url is None:
        raise ConfigError(
            f"no checkpoint in {name!r} (it has no config.json), and no server is named: give --base-url, or "
            f"--model {TINY} for the one that ships with the package"
        )
    config = ChatConfig(base_url=base_url, model=name or "unknown", **chat)
    if name is None:
        name = only_model(config)
        config = ChatConfig(base_url=base_url, model=name, **chat)
    return OpenedModel(ChatClient.from_config(config), name, has_prices=config.prices is not None)


def _load(path: str, device: str | None, dtype: str) -> ChatBackend:
    from transformers.utils import logging

    from longvt_plugins.local_model import LocalModel

    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # it would be drawn across the answer
    try:
        return LocalModel(path, device=device, dtype=dtype)
    finally:
        if shows_bars:
            logging.enable_progress_bar()


def preset_defaults(preset: str) -> dict[str, Any]:
    """The settings with which models of made videos were trained.

    Args:
        preset: Kind of the videos.

    Raises:
        ConfigError: There is none of this name.
    """
    from longvt_plugins.synthetic.world import get_preset

    chosen = get_preset(preset)
    return {"overview": chosen.overview, "crop": chosen.crop, "max_new_tokens": TINY_TURN}


def only_model(config: ChatConfig) -> str:
    """The name of the model that a server serves.

    Args:
        config: Its address and key.

    Raises:
        ConfigError: It serves several.
        ChatError: It gives no list.
    """
    import httpx2

    url = f"{config.server}/models"
    try:
        with httpx2.stream(
            "GET",
            url,
            headers={"authorization": f"Bearer {config.api_key}", "accept-encoding": "identity"},
            timeout=_LIST_SECONDS,
        ) as response:
            data = b""
            for chunk in response.iter_raw():
                data += chunk
                if len(data) > _LONGEST_LIST:
                    raise ChatReplyError(f"{url}: a list of models longer than {_LONGEST_LIST} bytes; give --model")
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise ChatUnavailableError(f"{url}: no connection: {str(error) or type(error).__name__}") from None
    names = _names(data) if response.is_success else []
    if not names:
        raise _no_list(url, response.status_code)
    if len(names) > 1:
        told = ", ".join(names[:_MODELS_TOLD]) + (", ..." if len(names) > _MODELS_TOLD else "")
        raise ConfigError(f"{config.server} serves {len(names)} models; choose one with --model: {told}")
    return names[0]


def _no_list(url: str, status: int) -> ChatError:
    return ChatReplyError(f"{url}: no list of models (HTTP {status}); give the model's name with --model")


def _names(data: bytes) -> list[str]:
    import json

    try:
        listed = json.loads(data)
    except (ValueError, RecursionError):
        return []
    entries = listed.get("data") if isinstance(listed, dict) else None
    names = [entry.get("id") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [name for name in names if isinstance(name, str) and name.isprintable() and name]
