"""What the model is told of each built-in tool. A change here changes what checkpoints were trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longvt_plugins.testing import plugin_manager

HERE = Path(__file__).parent

SPECIFICATIONS = {
    "crop_video_fps": "crop_video:fps",
    "get_frames": "get_frames",
    "search_captions": "search_captions",
    "search_frames": "search_frames",
    "search_subtitles": "search_subtitles",
    "transcribe": "transcribe",
    "zoom_region": "zoom_region",
}


@pytest.mark.parametrize(("golden", "specification"), SPECIFICATIONS.items())
def test_the_model_is_told_of_the_tool_as_ever(golden, specification):
    name, *options = specification.split(":")
    tool = plugin_manager().tools.get(name)
    if options:
        tool = tool.configured(dict.fromkeys(options))
    assert tool.schema == json.loads((HERE / f"{golden}.schema.json").read_text(encoding="utf-8"))


def test_every_built_in_tool_has_a_golden_schema():
    named = {specification.partition(":")[0] for specification in SPECIFICATIONS.values()} | {"crop_video"}
    assert set(plugin_manager().tools) == named


def test_no_option_is_shown_to_the_model():
    for tool in plugin_manager().tools._values.values():
        assert not set(tool.schema["function"]["parameters"]["properties"]) & set(tool.option_help), tool.name
