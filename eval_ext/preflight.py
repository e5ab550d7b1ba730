"""What can be known to be wrong before lmms-eval spends half a minute on its start: model, checkpoint, server, judge.

::

    arguments = read_model_arguments("longvt", "base_url=http://localhost:8000/v1,model=longvt", os.environ)
    find_model(arguments, os.environ).longest       # 32768
    doubt_of_judge(os.environ)                      # None, or why the judge cannot be trusted

It asks a server only which models it has, and the judge three questions that nobody doubts. Models that are not ours
are lmms-eval's to check.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_ext.arguments import KEY_VARIABLE, LocalArguments, ServerArguments, parse_arguments, split_arguments
from eval_ext.tasks.judging import STRICT, read_judge_config
from longvt_plugins.errors import ConfigError, JudgeError
from longvt_plugins.judges import Judge, close_judge
from longvt_plugins.judges.check import check_judge
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.synthetic import resolve_model
from longvt_plugins.vllm_model import require_vllm

PATIENCE_SECONDS = 10.0
"""For the list of models; a server that is up has it at once."""


def read_model_arguments(model: str, model_args: str, environ: Mapping[str, str]) -> ServerArguments | LocalArguments:
    """The arguments of a model of ours, each of them looked at.

    Args:
        model: ``longvt`` or ``longvt_hf``.
        model_args: As ``--model_args`` has them.
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: What is wrong with them.
    """
    given = split_arguments(model_args)
    if model == "longvt":
        arguments = parse_arguments(ServerArguments, given, model, environ)
        arguments.agent_config()
        return arguments
    local = parse_arguments(LocalArguments, given, model, environ)
    local.agent_config()
    local.vllm_settings()
    return local


@dataclass(frozen=True)
class Found:
    """A model that can be asked.

    Attributes:
        told: Who it is, for people.
        longest: Tokens that it reads; None where nobody says.
    """

    told: str
    longest: int | None = None


def find_model(arguments: ServerArguments | LocalArguments, environ: Mapping[str, str]) -> Found:
    """Looks for the model.

    Args:
        arguments: From :func:`read_model_arguments`.
        environ: ``os.environ``, at the edge: it has the server's key.

    Raises:
        ConfigError: It is not there.
        MissingExtraError: vLLM is asked for and not installed.
    """
    if isinstance(arguments, ServerArguments):
        longest = _ask_server(arguments.base_url, arguments.model, environ.get(KEY_VARIABLE))
        return Found(f"{arguments.model} at {arguments.base_url}", longest)
    if arguments.engine == "vllm":
        require_vllm()
    folder = resolve_model(arguments.pretrained)
    if not Path(folder, "config.json").is_file():
        raise ConfigError(f"--model longvt_hf: no checkpoint in {folder}: it has no config.json")
    return Found(f"{arguments.pretrained}, in this process", arguments.max_model_len or _positions(folder))


def _positions(folder: str) -> int | None:
    """Tokens that a checkpoint reads, as its configuration says."""
    try:
        config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{folder}/config.json is no JSON: {error}") from None
    found = {**config, **config.get("text_config", {})}.get("max_position_embeddings")
    return found if type(found) is int else None


def doubt_of_judge(environ: Mapping[str, str]) -> str | None:
    """Why the judge that the environment names cannot be trusted; None if it can, or if there is none but the strict.

    Args:
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: It names none that there is, or options that it does not take.
    """
    config = read_judge_config(environ)
    if config.name == STRICT:
        return None
    judge = create_plugin_manager().judges.get(config.name)(config)
    try:
        asyncio.run(_ask_judge(judge))
    except JudgeError as error:
        return str(error)
    return None


async def _ask_judge(judge: Judge) -> None:
    try:
        await check_judge(judge)
    finally:
        await close_judge(judge)


def _ask_server(base_url: str, model: str, key: str | None) -> int | None:
    """Asks for the model; how many tokens it reads, where the server says so, as vLLM does."""
    import httpx2

    url = f"{base_url.rstrip('/')}/models"
    try:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        response = httpx2.get(url, headers=headers, timeout=PATIENCE_SECONDS)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise ConfigError(f"no chat server at {base_url}: {str(error) or type(error).__name__}") from None
    if response.status_code in (401, 403):
        raise ConfigError(f"the chat server at {base_url} refuses the key: set {KEY_VARIABLE}")
    served = _served(response) if response.is_success else {}
    # Some servers have no such list; the first question tells then.
    if served and model not in served:
        raise ConfigError(
            f"the chat server at {base_url} has no model {model!r}; it has {', '.join(list(served)[:10])}"
        )
    longest = served.get(model, {}).get("max_model_len")
    return longest if type(longest) is int else None


def _served(response: Any) -> dict[str, dict[str, Any]]:
    """What a server says of its models, by name."""
    try:
        data = response.json().get("data")
    except (ValueError, AttributeError, RecursionError):
        return {}
    entries = data if isinstance(data, list) else []
    return {entry["id"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
