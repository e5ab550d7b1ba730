"""Which judge the environment names: for command lines, which hand over ``os.environ``. Nothing else reads it.

>>> judge_options_from_environment({"LLM_AS_A_JUDGE_BASE": "http://gpu1:1234/v1"}, "llm")
{'base_url': 'http://gpu1:1234/v1', 'model': 'judge'}
>>> judge_options_from_environment({"OPENAI_API_KEY": "sk-1", "OPENAI_MODEL_NAME": "gpt-5-mini"}, "llm")
{'base_url': 'https://api.openai.com/v1', 'model': 'gpt-5-mini', 'api_key': 'sk-1'}
>>> judge_options_from_environment({"LLM_AS_A_JUDGE_BASE": "http://gpu1:1234/v1"}, "exact")
{}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ASKING_JUDGES = ("llm", "cascade")
"""Judges that have a server."""

DEFAULT_MODEL = "judge"
"""The name under which LongVT's scripts, and ``recipes/judge``, serve a judge."""

OPENAI = "https://api.openai.com/v1"


def judge_options_from_environment(
    environ: Mapping[str, str], name: str, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The judge's options, with what the user did not say taken from the environment.

    ``LLM_AS_A_JUDGE_BASE`` is the judge's own address and comes before ``OPENAI_BASE_URL``. ``OPENAI_API_KEY`` goes
    to the address of ``OPENAI_BASE_URL``, to OpenAI, or to one that the user typed, never to
    ``LLM_AS_A_JUDGE_BASE``: it belongs to somebody else. ``OPENAI_MODEL_NAME`` names the model.

    Args:
        environ: ``os.environ``, at the edge.
        name: The judge's; one that has no server gets nothing.
        given: What the user said; it comes before everything here.

    Returns:
        ``given`` and what was added to it. Where nothing names an address, none is made up.
    """
    options = dict(given or {})
    if name not in ASKING_JUDGES:
        return options
    own, openai = environ.get("LLM_AS_A_JUDGE_BASE", "").strip(), environ.get("OPENAI_BASE_URL", "").strip()
    key, model = environ.get("OPENAI_API_KEY", "").strip(), environ.get("OPENAI_MODEL_NAME", "").strip()
    typed = bool(options.get("base_url"))
    base_url = own or openai or (OPENAI if key else "")
    if base_url and not typed:
        options["base_url"] = base_url
    if model or (own and not typed):
        options.setdefault("model", model or DEFAULT_MODEL)
    if key and (typed or not own):
        options.setdefault("api_key", key)
    return options
