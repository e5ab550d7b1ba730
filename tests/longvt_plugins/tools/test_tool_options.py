"""Options of tools: set where a tool is named, checked there, and never shown to the model."""

from __future__ import annotations

from typing import Annotated

import pytest

from longvt_plugins import ToolContext, ToolError, hookimpl
from longvt_plugins.errors import ConfigError, UnknownNameError
from longvt_plugins.testing import plugin_manager
from longvt_plugins.tools.tool import ON_REQUEST


def find(
    ctx: ToolContext,
    query: str,
    near: Annotated[float | None, ON_REQUEST] = None,
    *,
    model: str,
    count: int = 8,
    loud: bool = False,
) -> str:
    """Find a thing.

    Args:
        query: What.
        near: Seconds near which it is.
        model: Folder of the model.
        count: How many.
        loud: Whether it shouts.
    """
    return f"{query} {near} {model} {count} {loud}"


class Finder:
    @hookimpl
    def register_tools(self, register):
        register(find)


@pytest.fixture(scope="module")
def plugins():
    return plugin_manager(Finder())


def selected(plugins, specification):
    (tool,) = plugins.select_tools([specification])
    return tool


def run(tool, **arguments):
    with ToolContext({}) as ctx:
        return tool(ctx, arguments)[0]["text"]


def test_a_tool_that_is_named_again_with_the_same_options_is_not_made_again(plugins):
    assert selected(plugins, "find:model=/m:count=3") is selected(plugins, "find:model=/m:count=3")
    assert selected(plugins, "find:model=/m:count=4").options["count"] == 4


def test_options_are_set_where_the_tool_is_named(plugins):
    tool = selected(plugins, "find:model=/models/a=b:count=3:loud")

    assert run(tool, query="lamp") == "lamp None /models/a=b 3 True"
    assert dict(tool.options) == {"model": "/models/a=b", "count": 3, "loud": True}


def test_the_model_sees_no_option_and_cannot_set_one(plugins):
    tool = selected(plugins, "find:model=m")

    assert list(tool.schema["function"]["parameters"]["properties"]) == ["query"]
    with pytest.raises(ToolError, match=r"unknown argument 'model' \(the arguments are: query\)"):
        run(tool, query="lamp", model="/etc")


def test_a_parameter_on_request_is_shown_once_it_is_named(plugins):
    with pytest.raises(ToolError, match="unknown argument 'near'"):
        run(selected(plugins, "find:model=m"), query="lamp", near=3)

    tool = selected(plugins, "find:near:model=m")
    assert list(tool.schema["function"]["parameters"]["properties"]) == ["query", "near"]
    assert tool.schema["function"]["parameters"]["required"] == ["query"]
    assert run(tool, query="lamp", near=3.5) == "lamp 3.5 m 8 False"


def test_what_is_registered_does_not_change(plugins):
    selected(plugins, "find:near:model=m:count=2")
    assert run(selected(plugins, "find:model=m"), query="lamp") == "lamp None m 8 False"


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ("find", "tool 'find' needs model (Folder of the model.): name it as find:model=VALUE"),
        ("find:model=m:sise=3", "tool 'find' has no option 'sise': it has near, model, count, loud"),
        ("find:model=m:count=many", "option count: Input should be a valid integer"),
        ("find:model=m:near=3", "'near' is the model's to set; name it without a value"),
        ("crop_video:model=m", "tool 'crop_video' has no option 'model': it has fps"),
        ("get_frames:fps", "tool 'get_frames' has no option 'fps': it has none"),
        ("search_subtitles:lines=0", "option lines: Input should be greater than or equal to 1"),
    ],
)
def test_a_faulty_option_is_told_in_one_line(plugins, specification, said):
    with pytest.raises(ConfigError) as told:
        plugins.select_tools([specification])
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_tool_is_named_once(plugins):
    with pytest.raises(ConfigError, match="tool 'crop_video' is named twice: crop_video, crop_video:fps"):
        plugins.select_tools(["crop_video", "crop_video:fps"])
    with pytest.raises(UnknownNameError, match="Did you mean 'crop_video'"):
        plugins.select_tools(["crop_vdeo:fps"])
