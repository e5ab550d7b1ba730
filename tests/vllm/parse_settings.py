"""What vLLM itself says of settings, without starting anything: JSON in, JSON out, run by vLLM's own Python.

``{"model": "DIR", "lines": [["serve", "Qwen/any", "--port", "1234"]], "engines": [{"model": "DIR", "seed": 1}]}`` gives
the fault of each, or null where there is none. The folder stands for whatever model a line names.
"""

import contextlib
import io
import json
import sys

import vllm
from vllm import EngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser


def fault_of_line(words, model):
    command, parser = ServeSubcommand(), FlexibleArgumentParser()
    command.subparser_init(parser.add_subparsers())
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args = parser.parse_args(words)
            command.validate(args)
            args.model = model
            EngineArgs.from_cli_args(args)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def fault_of_engine(settings):
    try:
        EngineArgs(**settings).create_engine_config()
    except (TypeError, ValueError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    told = json.load(sys.stdin)
    faults = {"lines": [fault_of_line(words, told["model"]) for words in told["lines"]],
              "engines": [fault_of_engine(settings) for settings in told["engines"]]}  # fmt: skip
    print("\n" + json.dumps({"version": vllm.__version__, **faults}))
