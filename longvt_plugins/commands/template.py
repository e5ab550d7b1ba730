"""``longvt template NAME``: where the chat template of a model family lies, to be passed to whoever serves or trains.

::

    vllm serve Qwen/Qwen2.5-VL-7B-Instruct --chat-template "$(longvt template qwen2_5_vl)" ...
    trl sft --config recipes/sft.yaml --chat_template_path "$(longvt template qwen2_5_vl)"

Checkpoints that were trained here carry their template; published ones do not. ``--text`` prints the template itself.
"""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Declares the options."""
    parser = subparsers.add_parser("template", description="Print the file of a model family's chat template.")
    parser.add_argument("name", metavar="NAME", help="qwen2_5_vl or qwen3_vl, the model_type of a checkpoint's config")
    parser.add_argument("--text", action="store_true", help="print the template, not where it lies")


def run(args: argparse.Namespace) -> int:
    """Prints it."""
    from longvt_plugins.chat_templates import chat_template_path, load_chat_template

    print(load_chat_template(args.name) if args.text else chat_template_path(args.name))
    return 0
