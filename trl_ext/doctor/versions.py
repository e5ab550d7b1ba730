"""Versions that are known not to work together, and what a recipe needs and is not installed.

::

    check_versions(recipe, installed())

Each of the bounds was met by running into it; ``docs/footguns.md`` tells what happens beyond.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping

from packaging.version import Version

from longvt_plugins.finding import Finding, blocker, ok, warning
from trl_ext.doctor.model import Loaded
from trl_ext.doctor.recipe import Recipe

PACKAGES = (
    "trl",
    "transformers",
    "torch",
    "torchvision",
    "accelerate",
    "peft",
    "vllm",
    "deepspeed",
    "liger-kernel",
    "lmms-eval",
    "math-verify",
    "mcp",
    "av",
    "flash-attn",
)

TRL = Version("1.16"), Version("1.17")
TRANSFORMERS = Version("5.15")
"""From here on tool schemas reach the parser of replies."""

MASKED_LOSS = Version("5.18")
"""Of transformers: ``assistant_only_loss`` on pictures."""

_LIGER = "pip install 'longvt-plugins[liger]'"

VLLM = Version("0.22"), Version("0.31")
"""The oldest and the newest that TRL 1.16 works with."""


def installed() -> dict[str, str]:
    """Versions of what matters here, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def check_versions(recipe: Recipe, found: Mapping[str, str]) -> Iterator[Finding]:
    """Looks at what is installed.

    Args:
        recipe: Says what is needed.
        found: Versions by name.
    """
    findings = [*check_together(found), *_needed(recipe, found)]
    yield from findings
    if not any(finding.level == "blocker" for finding in findings):
        yield ok("versions", ", ".join(f"{name} {found[name]}" for name in PACKAGES[:5] if name in found))


def check_together(found: Mapping[str, str]) -> Iterator[Finding]:
    """Looks for versions that do not work together, whatever is run.

    Args:
        found: Versions by name.
    """
    known = {name: Version(version) for name, version in found.items()}
    check = "versions"
    if "trl" in known and not TRL[0] <= known["trl"] < TRL[1]:
        yield blocker(
            check,
            f"trl {found['trl']}: the environment is experimental in TRL and changes between versions",
            "pip install 'trl>=1.16,<1.17'",
        )
    if "transformers" in known and known["transformers"] < TRANSFORMERS:
        yield blocker(
            check,
            f"transformers {found['transformers']} does not hand tool schemas to the parser",
            "pip install 'transformers>=5.15'",
        )
    if found.get("torch") == "2.13.0+cpu" and "torchvision" in found:
        yield blocker(
            check,
            "torch 2.13.0+cpu does not work with torchvision (torchvision::nms does not exist)",
            "pip install 'torch===2.13.0', or another version",
        )
    if "vllm" in known and not VLLM[0] <= known["vllm"] <= Version(f"{VLLM[1]}.999"):
        yield blocker(
            check, f"vllm {found['vllm']}: TRL 1.16 works with 0.22 to 0.31", "pip install 'vllm>=0.22,<=0.31'"
        )
    if "lmms-eval" in known and known.get("mcp", Version("1")) >= Version("2"):
        yield warning(
            check, f"mcp {found['mcp']} has no mcp.server.fastmcp, which lmms-eval imports", "pip install 'mcp<2'"
        )
    if "lmms-eval" in known and known.get("av", Version("1")) >= Version("16"):
        yield warning(check, f"av {found['av']}: lmms-eval asks for a version below 16", "pip install 'av<16'")
    if known.get("math-verify", Version("0.5")) < Version("0.5"):
        yield blocker(
            check,
            f"math-verify {found['math-verify']} cannot be imported by TRL's GRPO script",
            "pip install 'math-verify>=0.5'",
        )


def check_liger(recipe: Recipe, loaded: Loaded) -> Iterator[Finding]:
    """Looks whether the installed Liger knows this family in the installed transformers; both change their classes."""
    family = loaded.config.model_type
    if not recipe.training.use_liger_kernel or importlib.util.find_spec("liger_kernel") is None:
        return
    try:
        importlib.import_module(f"liger_kernel.transformers.model.{family}")
    except ImportError as error:
        found = installed()
        yield blocker(
            "versions",
            f"liger-kernel {found.get('liger-kernel')} has no kernels for {family} of transformers "
            f"{found.get('transformers')}: {str(error).partition(' (')[0]}",
            f"{_LIGER}, which names versions that fit, or --use_liger_kernel false",
        )


def _needed(recipe: Recipe, found: Mapping[str, str]) -> Iterator[Finding]:
    training, check = recipe.training, "versions"
    transformers = Version(found.get("transformers", "0"))
    if recipe.kind == "sft" and training.assistant_only_loss and transformers < MASKED_LOSS:
        yield blocker(
            check,
            f"assistant_only_loss on pictures needs transformers 5.18, {transformers} is installed",
            "pip install 'transformers>=5.18', with vLLM installed also 'vllm<0.31', since 0.31 wants an older one",
        )
    if getattr(training, "use_vllm", False) and "vllm" not in found:
        yield blocker(
            check,
            "use_vllm is true and vllm is not installed",
            "an environment of its own with longvt-plugins[train,vllm], or --use_vllm false",
        )
    if training.use_liger_kernel and "liger-kernel" not in found:
        yield blocker(
            check,
            "use_liger_kernel is true and liger-kernel is not installed",
            f"{_LIGER}, or --use_liger_kernel false",
        )
    if recipe.model.use_peft and "peft" not in found:
        yield blocker(check, "use_peft is true and peft is not installed", "pip install 'longvt-plugins[train]'")
    if recipe.distributed == "DEEPSPEED" and "deepspeed" not in found:
        yield blocker(
            check,
            "the accelerate config asks for DeepSpeed, which is not installed",
            "pip install deepspeed, or --accelerate_config fsdp2",
        )
    if recipe.model.attn_implementation == "flash_attention_2" and "flash-attn" not in found:
        yield blocker(
            check,
            "attn_implementation flash_attention_2 needs flash-attn, which is not installed",
            "pip install flash-attn, or --attn_implementation sdpa",
        )
