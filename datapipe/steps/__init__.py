"""The built-in steps, one file each. This module is the entry point through which they come in."""

from __future__ import annotations

from datapipe.steps.apply_review import ApplyReview
from datapipe.steps.caption import CaptionSegment
from datapipe.steps.filter_text import FilterText
from datapipe.steps.filter_vlm import FilterVLM
from datapipe.steps.generate_imcott import GenerateIMCoTT
from datapipe.steps.generate_qa import GenerateQA
from datapipe.steps.merge_events import MergeEvents
from datapipe.steps.probe_video import ProbeVideo
from datapipe.steps.segment import SegmentVideo
from datapipe.steps.select_rft import SelectRFT
from datapipe.steps.select_rl import SelectRL
from datapipe.steps.summarize import Summarize
from longvt_plugins.hookspecs import RegisterStep, hookimpl

STEPS = (
    ProbeVideo,
    SegmentVideo,
    CaptionSegment,
    MergeEvents,
    GenerateQA,
    Summarize,
    FilterText,
    FilterVLM,
    GenerateIMCoTT,
    SelectRL,
    SelectRFT,
    ApplyReview,
)
"""In the order in which a pipeline has them."""


@hookimpl
def register_steps(register: RegisterStep) -> None:
    """Gives the built-in steps."""
    for step in STEPS:
        register(step)
