"""What can be known to be wrong before lmms-eval spends half a minute on its start: model, checkpoint, server, judge.

::

    check_model("longvt", "base_url=http://localhost:8000/v1,model=longvt", os.environ)
    doubt_of_judge(os.environ)          # None, or why the judge beside the strict score cannot be trusted

It asks a server only which models it has, and the judge three questions that nobody doubts. Models that are not ours
are lmms-eval's to check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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


def check_model(model: str, model_args: str, environ: Mapping[str, str]) -> None:
    """Checks a model of ours.

    Args:
        model: As ``--model`` has it.
        model_args: As ``--model_args`` has them.
        environ: ``os.environ``, at the edge.

    Raises:
        ConfigError: What is wrong.
        MissingExtraError: vLLM is asked for and not installed.
    """
    given = split_arguments(model_args)
    if model == "longvt":
        arguments = parse_arguments(ServerArguments, given, model, environ)
        arguments.agent_config()
        _ask_server(arguments.base_url, arguments.model, environ.get(KEY_VARIABLE))
    elif model == "longvt_hf":
        local = parse_arguments(LocalArguments, given, model, environ)
        local.agent_config()
        local.vllm_settings()
        if local.engine == "vllm":
            require_vllm()
        folder = resolve_model(local.pretrained)
        if not Path(folder, "config.json").is_file():
            raise ConfigError(f"--model longvt_hf: no checkpoint in {folder}: it has no config.json")


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


def _ask_server(base_url: str, model: str, key: str | None) -> None:
    import httpx2

    url = f"{base_url.rstrip('/')}/models"
    try:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        response = httpx2.get(url, headers=headers, timeout=PATIENCE_SECONDS)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise ConfigError(f"no chat server at {base_url}: {str(error) or type(error).__name__}") from None
    if response.status_code in (401, 403):
        raise ConfigError(f"the chat server at {base_url} refuses the key: set {KEY_VARIABLE}")
    names = _names(response) if response.is_success else []
    # Some servers have no such list; the first question tells then.
    if names and model not in names:
        raise ConfigError(f"the chat server at {base_url} has no model {model!r}; it has {', '.join(names[:10])}")


def _names(response: Any) -> list[str]:
    try:
        data = response.json().get("data")
    except (ValueError, AttributeError):
        return []
    entries = data if isinstance(data, list) else []
    return [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
