"""``longvt doctor --config recipe.yaml``: what would end or spoil a long run, found before it starts.

::

    longvt doctor --config recipes/rl.yaml --accelerate_config fsdp2
    longvt doctor --config recipes/sft.yaml --json

Flags are those of the training itself, so that what is looked at is what would run. Each finding comes with its cure;
the exit code is 1 if one of them is a blocker, 2 if the recipe itself is refused. Without a GPU and without weights:
it loads the processor and the configuration, opens a sample of the data, and asks the judge.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longvt_plugins.finding import Finding
    from trl_ext.doctor.recipe import Recipe

BLOCKED = 1

_SAMPLE = 20


def run(argv: Sequence[str]) -> int:
    """The sub-command, see :mod:`longvt_plugins.commands`.

    Args:
        argv: ``--config`` and flags of the training, and the doctor's own.

    Raises:
        ConfigError: The real command would refuse the recipe.
    """
    parser = argparse.ArgumentParser(
        prog="longvt doctor",
        description="Look for what would end or spoil a training, before it starts.",
        epilog="Any other flag is one of the training, such as --accelerate_config fsdp2 or --max_calls 3.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="RECIPE", required=True, help="recipe of `longvt grpo` or `trl sft`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--sample", metavar="N", type=int, default=_SAMPLE, help="videos or conversations to open (default %(default)s)"
    )
    options, flags = parser.parse_known_args(list(argv))
    if options.sample < 1:
        parser.error(f"--sample must be at least 1, not {options.sample}")
    from longvt_plugins.finding import findings_report, print_findings
    from trl_ext.doctor.recipe import read_recipe

    # TRL's own defaults make transformers warn of its next version.
    warnings.simplefilter("ignore", FutureWarning)
    recipe = read_recipe(["--config", options.config, *flags])
    findings = list(examine(recipe, sample=options.sample, environ=dict(os.environ)))
    if options.json:
        report = {"recipe": options.config, **findings_report(findings)}
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        print_findings(findings)
    return BLOCKED if any(finding.level == "blocker" for finding in findings) else 0


def examine(recipe: Recipe, *, sample: int, environ: dict[str, str]) -> Iterator[Finding]:
    """Looks at everything, what is quick first.

    Args:
        recipe: As :func:`trl_ext.doctor.recipe.read_recipe` read it.
        sample: Videos or conversations to open.
        environ: Where the judge's address may stand.
    """
    from longvt_plugins.finding import blocker
    from trl_ext.doctor.data import check_conversations, check_rows
    from trl_ext.doctor.model import UnusableModelError, check_context, check_images, check_template, load
    from trl_ext.doctor.room import check_disk
    from trl_ext.doctor.services import check_services
    from trl_ext.doctor.settings import check_settings
    from trl_ext.doctor.versions import check_liger, check_versions, installed

    yield from check_versions(recipe, installed())
    yield from check_settings(recipe)
    loaded = None
    try:
        loaded = load(recipe)
    except UnusableModelError as error:
        yield blocker("model", error.what, error.cure)
    if loaded is not None:
        yield from check_liger(recipe, loaded)
        yield from check_template(recipe, loaded)
        yield from check_images(recipe, loaded)
        yield from check_disk(recipe, loaded)
    longest = None
    if recipe.kind == "rl":
        found, longest = check_rows(recipe, sample)
        yield from found
    else:
        yield from check_conversations(recipe, loaded, sample)
    if loaded is not None:
        yield from check_context(recipe, loaded, longest)
    yield from check_services(recipe, environ)
