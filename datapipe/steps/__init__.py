"""The built-in steps, one file each. This module is the entry point through which they come in."""

from __future__ import annotations

from datapipe.steps.probe_video import ProbeVideo
from longvt_plugins.hookspecs import RegisterStep, hookimpl

STEPS = (ProbeVideo,)


@hookimpl
def register_steps(register: RegisterStep) -> None:
    """Gives the built-in steps."""
    for step in STEPS:
        register(step)
