"""Prompts of the built-in steps: each is used, each that is named exists, and none is sent half filled."""

from __future__ import annotations

import re

import pytest

from datapipe.steps import STEPS
from datapipe.toolbox import PROMPTS
from longvt_plugins import prompts
from longvt_plugins.errors import ConfigError

NAMED = sorted({name for step in STEPS for name in step.prompts})


def test_every_file_is_the_prompt_of_a_step_and_every_prompt_a_file():
    assert sorted(file.stem for file in PROMPTS.glob("*.jinja")) == NAMED


@pytest.mark.parametrize("name", NAMED)
def test_a_name_that_nobody_fills_raises(name):
    """LongVT sent the literal "{merged_caption}" to its model."""
    text = (PROMPTS / f"{name}.jinja").read_text()
    assert not re.search(r"(?<![{%\"])\{[a-z_]+\}", text), "a name in the style of another kind of template"
    if "{{" in text or "{%" in text:
        with pytest.raises(ConfigError, match="is undefined"):
            prompts.render(name, folder=PROMPTS)


def test_steps_that_ask_say_by_which_prompts():
    assert {step.name for step in STEPS if step.uses_chat} == {step.name for step in STEPS if step.prompts}
