"""Names to values, and what is said when a name is unknown or taken."""

import pytest

from longvt_plugins.errors import DuplicateNameError, PluginError, UnknownNameError
from longvt_plugins.registry import Registry, did_you_mean


@pytest.fixture
def tools():
    tools = Registry("tool", "Rename one: tool names are trained into the model.")
    tools.register("crop_video", "crop", provider="built-in")
    tools.register("zoom_region", "zoom", provider="zoom, longvt-zoom 0.1")
    return tools


def test_a_registered_name_is_found_with_its_provider(tools):
    assert tools.get("crop_video") == "crop"
    assert tools.provider("zoom_region") == "zoom, longvt-zoom 0.1"
    assert "crop_video" in tools
    assert len(tools) == 2


def test_an_unknown_name_suggests_the_nearest_and_lists_all_with_their_providers(tools):
    with pytest.raises(UnknownNameError) as error:
        tools.get("crop_vdeo")
    assert str(error.value) == (
        "No tool named 'crop_vdeo'. Did you mean 'crop_video'? "
        "Installed: crop_video (built-in), zoom_region (zoom, longvt-zoom 0.1)."
    )


@pytest.mark.parametrize("name", ["entirely_different", "", None, 7])
def test_nothing_is_suggested_where_nothing_is_near(tools, name):
    with pytest.raises(UnknownNameError) as error:
        tools.get(name)
    assert str(error.value).startswith(f"No tool named {name!r}. Installed: ")


def test_an_empty_registry_says_so():
    with pytest.raises(UnknownNameError, match=r"^No judge named 'exact'. Installed: none.$"):
        Registry("judge").get("exact")


def test_a_taken_name_names_both_sides_and_keeps_the_first(tools):
    with pytest.raises(DuplicateNameError) as error:
        tools.register("crop_video", "other", provider="zoom, longvt-zoom 0.1")
    assert str(error.value) == (
        "tool 'crop_video' is registered by both built-in and zoom, longvt-zoom 0.1. "
        "Rename one: tool names are trained into the model."
    )
    assert tools.get("crop_video") == "crop"


def test_names_come_in_the_order_of_the_alphabet_whatever_was_installed_first(tools):
    tools.register("ask_subtitles", "ask", provider="x")
    assert list(tools) == ["ask_subtitles", "crop_video", "zoom_region"]


def test_both_errors_can_be_caught_as_plugin_errors():
    assert issubclass(UnknownNameError, PluginError)
    assert issubclass(DuplicateNameError, PluginError)


def test_did_you_mean_is_empty_or_one_clause():
    assert did_you_mean("plugns", ["plugins", "tool"]) == " Did you mean 'plugins'?"
    assert did_you_mean("x", ["plugins", "tool"]) == ""
