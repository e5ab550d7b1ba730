"""Servers that a training asks: the judge, and the vLLM that makes its rollouts.

::

    check_services(recipe, os.environ)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from longvt_plugins.errors import LongvtError
from longvt_plugins.finding import Finding, blocker, ok
from longvt_plugins.judges import close_judge
from longvt_plugins.judges.check import check_judge
from longvt_plugins.judges.environment import judge_options_from_environment
from longvt_plugins.judges.judge import JudgeConfig
from longvt_plugins.plugins import create_plugin_manager
from trl_ext.doctor.recipe import Recipe
from trl_ext.reward_choice import choose_judge, choose_rewards

_SECONDS = 10.0


def check_services(recipe: Recipe, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Asks the judge three known questions, and the server of rollouts whether it is one.

    Args:
        recipe: Names them.
        environ: Where the judge's address may stand.
    """
    if recipe.arguments is None:
        return
    yield from _judge(recipe, environ)
    if recipe.training.use_vllm and recipe.training.vllm_mode == "server":
        yield _rollouts(recipe)


def _judge(recipe: Recipe, environ: Mapping[str, str]) -> Iterator[Finding]:
    arguments = recipe.arguments
    assert arguments is not None
    given = arguments.judge_options if isinstance(arguments.judge_options, dict) else None
    config = JudgeConfig(arguments.judge, judge_options_from_environment(environ, arguments.judge, given))

    async def ask() -> bool:
        functions, _ = choose_rewards(arguments.reward_funcs, arguments.reward_preset)
        judge = choose_judge(config, functions, create_plugin_manager())
        if judge is None:
            return False
        try:
            await check_judge(judge)
        finally:
            await close_judge(judge)
        return True

    try:
        asked = asyncio.run(ask())
    except LongvtError as error:
        yield blocker("judge", str(error), "recipes/judge serves one, LLM_AS_A_JUDGE_BASE names it; or judge: exact")
        return
    yield ok("judge", f"{arguments.judge} passes three known questions" if asked else "the exact judge asks nobody")


def _rollouts(recipe: Recipe) -> Finding:
    import httpx2

    training = recipe.training
    url = training.vllm_server_base_url or f"http://{training.vllm_server_host}:{training.vllm_server_port}"
    cure = "recipes/cluster/serve_rollouts.sh CHECKPOINT GPUS, and --vllm_server_base_url"
    try:
        reply = httpx2.get(f"{url}/server_info", params={"config_format": "json"}, timeout=_SECONDS)
    except httpx2.HTTPError as error:
        return blocker("rollouts", f"no vLLM server at {url}: {error or type(error).__name__}", cure)
    if reply.status_code != 200:
        return blocker(
            "rollouts", f"{url}/server_info answers {reply.status_code}: the weights could not be sent", cure
        )
    try:
        served = reply.json()["vllm_config"]
        length, transfer = served["model_config"]["max_model_len"], served["weight_transfer_config"]
    except (ValueError, KeyError, TypeError):
        return blocker("rollouts", f"{url}/server_info is no vLLM server's", cure)
    if transfer is None:
        return blocker("rollouts", f"the vLLM server at {url} takes no weights", cure)
    if length < training.max_completion_length:
        return blocker(
            "rollouts",
            f"the vLLM server takes {length} tokens, max_completion_length alone is {training.max_completion_length}",
            "a larger --max-model-len",
        )
    return ok("rollouts", f"vLLM at {url} takes weights and {length:,} tokens")
