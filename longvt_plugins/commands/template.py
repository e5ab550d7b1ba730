"""``longvt template NAME``: the chat template of a model family, to be passed to whoever serves or trains.

::

    longvt template qwen2_5_vl > qwen2_5_vl.jinja
    trl sft --config recipes/sft.yaml --chat_template_path qwen2_5_vl.jinja
    vllm serve Qwen/Qwen2.5-VL-7B-Instruct --chat-template "$(longvt template qwen2_5_vl --path)" ...

Checkpoints that were trained here carry their template; published ones do not.
"""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Declares the options."""
    parser = subparsers.add_parser("template", description="Print the chat template of a model family.")
    parser.add_argument("name", metavar="NAME", help="qwen2_5_vl or qwen3_vl, the model_type of a checkpoint's config")
    parser.add_argument("--path", action="store_true", help="print where it lies, not the template")


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    from longvt_plugins.chat_templates import chat_template_path, load_chat_template

    # As it is, without a line end of its own: a template's last line break would be a token of every prompt.
    print(chat_template_path(args.name) if args.path else load_chat_template(args.name), end="\n" if args.path else "")
    return 0
