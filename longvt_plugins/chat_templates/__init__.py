r"""Chat templates with tools, images anywhere and loss markers, and how a reply is read back; one a model family.

::

    <|im_start|>assistant
    <think>Something flashes near 48 s.</think>
    <tool_call>
    {"name": "crop_video", "arguments": {"video_path": "video_1.mp4", "start_time": 46, "end_time": 52}}
    </tool_call><|im_end|>

``*.jinja`` beside this file are plain Hugging Face chat templates: ``trl sft`` takes one by its path
(``chat_template_path``), and once saved with a model they are what vLLM's hermes parser expects. What a
model wrote outside its calls stays in ``content``: neither ``<think>`` nor ``<answer>`` is taken out.
They do not hold prompts: see :mod:`longvt_plugins.prompts`.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
"""Model families, by the ``model_type`` of their configuration."""

RESPONSE_TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant", "content": ""},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            # With the line break that the template puts before it, which is not part of the text.
            "open_pattern": r"\n?<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            # Both keys must be there, as vLLM's hermes parser has it: a call without them stays text.
            "transform": {
                "type": "function",
                "function": {"name": "{content.name}", "arguments": "{content.arguments}"},
            },
        },
        "content": {
            "close_pattern": r"<\|(?:im_end|endoftext)\|>\s*",
            "content": "text",
            "content_args": {"strip": False},
            # Text after a call is added to the text before it; without this it would take its place.
            "repeats": True,
            "join": "",
        },
    },
}
"""For transformers' ``tokenizer.response_template``: calls are parsed, all other text is ``content`` as written."""


def load_chat_template(family: str) -> str:
    """The chat template of a model family.

    Args:
        family: One of :data:`FAMILIES`.

    Raises:
        ConfigError: No template for this family.
    """
    return chat_template_path(family).read_text(encoding="utf-8")


def chat_template_path(family: str) -> Path:
    """The file of a chat template, as ``trl sft --chat_template_path`` wants it.

    Raises:
        ConfigError: No template for this family.
    """
    if family not in FAMILIES:
        raise ConfigError(f"no chat template for the model family {family!r}; there are: {', '.join(FAMILIES)}")
    return Path(__file__).parent / f"{family}.jinja"


def response_template(family: str) -> dict[str, Any]:
    """How the replies of a model family are read back: :data:`RESPONSE_TEMPLATE`, a copy.

    Raises:
        ConfigError: No template for this family.
    """
    chat_template_path(family)
    return copy.deepcopy(RESPONSE_TEMPLATE)


def apply_templates(processor: ProcessorMixin | PreTrainedTokenizerBase, family: str) -> None:
    """Gives a processor, and the tokenizer inside it, the templates of its family; ``save_pretrained`` keeps them.

    Args:
        processor: Of a vision-language model, or a bare tokenizer.
        family: One of :data:`FAMILIES`.

    Raises:
        ConfigError: No template for this family.
    """
    template = load_chat_template(family)
    tokenizer = getattr(processor, "tokenizer", processor)
    processor.chat_template = template
    tokenizer.chat_template = template
    tokenizer.response_template = response_template(family)


def render_tools_into_system(system_text: str, schemas: Sequence[Mapping[str, Any]], family: str = "qwen2_5_vl") -> str:
    """The text of the system message as the template renders it with ``tools=schemas``.

    TRL's SFT drops ``tools`` where there are images, so the description has to stand in the message itself;
    this makes the tokens of such an example those of the prompt in reinforcement learning.

    Args:
        system_text: What the system message says besides.
        schemas: OpenAI function schemas, :attr:`Tool.schema`.
        family: Whose template; they agree wherever ``system_text`` is not empty.

    Raises:
        ConfigError: No template for this family.
    """
    messages = [{"role": "system", "content": system_text}]
    rendered = _compiled(family).render(messages=messages, tools=list(schemas), add_generation_prompt=False)
    return rendered.removeprefix("<|im_start|>system\n").removesuffix("<|im_end|>\n")


@functools.lru_cache(maxsize=len(FAMILIES))
def _compiled(family: str) -> Template:
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationMarkers(Extension):
        """Reads the loss markers and renders what is between them; transformers has one that records them."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own way to declare tags

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    # The same settings and JSON text as transformers', so that the bytes agree.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationMarkers])
    to_json: Callable[[Any], str] = functools.partial(json.dumps, ensure_ascii=False)
    environment.filters["tojson"] = to_json
    return environment.from_string(load_chat_template(family))
