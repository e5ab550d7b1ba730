"""The plugin system: what it loads, what it refuses and how it says so."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from longvt_plugins import ToolContext, ToolError, create_plugin_manager, hookimpl
from longvt_plugins.errors import DuplicateNameError, PluginError, UnknownNameError
from longvt_plugins.plugins import BUILTIN_PLUGINS, hook_names, run_tool_call
from longvt_plugins.tools import Tool
from longvt_plugins.types import ToolCall


def look(ctx: ToolContext, second: float) -> str:
    """Look at a second.

    Args:
        second: Which one.
    """
    if second < 0:
        raise ToolError("second must not be negative")
    return f"looked at {second:g}"


def plugin(name: str = "example", **hooks) -> types.ModuleType:
    """A plugin module whose functions are these."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


def gives_tool(function=look, name=None):
    def register_tools(register):
        register(function, name)

    return register_tools


def manager(*plugins: object):
    return create_plugin_manager(entry_points=False, extra=plugins)


def call(plugins, second: float = 3.0):
    return plugins.call_tool(plugins.tools.get("look"), ToolContext({}), ToolCall("call_1", "look", {"second": second}))


def install(site: Path, distribution: str, entry_point: str, code: str, version: str = "1.0") -> None:
    """Installs a distribution with one module, as an installer leaves it."""
    module = distribution.replace("-", "_")
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[longvt]\n{entry_point} = {module}\n")
    # Another test may have imported another module of this name, such as the example plugin.
    sys.modules.pop(module, None)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed distributions on the import path."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    before = set(sys.modules)
    yield tmp_path / "site"
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


GIVES_JUDGE = """
from longvt_plugins import hookimpl

@hookimpl
def register_judges(register):
    register("{name}", print)
"""


# What is loaded


def test_built_in_plugins_come_through_the_same_door_as_everybodys():
    plugins = create_plugin_manager(entry_points=False)
    assert [info.name for info in plugins.plugins] == list(BUILTIN_PLUGINS)
    assert all(info.distribution == "built-in" and info.hooks and info.names for info in plugins.plugins)
    assert plugins.tools.provider("crop_video") == "built-in"


def test_our_own_pipeline_steps_come_in_through_our_own_entry_point():
    plugins = create_plugin_manager()
    assert re.fullmatch(r"datapipe, longvt-plugins [\d.]+", plugins.steps.provider("probe_video"))


def test_the_manager_knows_who_gave_what():
    plugins = manager(plugin(register_tools=gives_tool(), register_judges=lambda register: register("strict", print)))
    info = plugins.plugins[-1]
    assert info.hooks == ("register_judges", "register_tools")
    assert info.names == ("judge strict", "tool look")
    assert plugins.tools.provider("look") == "example, given by the caller"


def test_an_object_may_be_a_plugin_and_several_of_one_class_too():
    class Counter:
        def __init__(self):
            self.calls = 0

        @hookimpl
        def tool_called(self, call):
            self.calls += 1

    first, second = Counter(), Counter()
    call(manager(plugin(register_tools=gives_tool()), first, second))
    assert (first.calls, second.calls) == (1, 1)


def test_managers_share_nothing():
    manager(plugin(register_tools=gives_tool()))
    assert "look" not in create_plugin_manager(entry_points=False).tools


def test_the_order_of_plugins_decides_nothing():
    a = plugin("a", register_tools=gives_tool(name="look_a"), register_judges=lambda register: register("ja", print))
    b = plugin("b", register_tools=gives_tool(name="look_b"), register_judges=lambda register: register("jb", print))
    for one, other in ((a, b), (b, a)):
        plugins = manager(one, other)
        assert [name for name in plugins.tools if name.startswith("look_")] == ["look_a", "look_b"]
        assert plugins.tools.provider("look_a") == "a, given by the caller"
        assert {"ja", "jb"} < set(plugins.judges)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_clash_is_an_error_whichever_plugin_comes_first(order):
    with pytest.raises(DuplicateNameError, match="'look' is registered by both"):
        manager(*(plugin(name, register_tools=gives_tool()) for name in order))


def test_a_chosen_set_of_tools_keeps_its_order_and_suggests_the_nearest_name():
    plugins = manager(plugin(register_tools=gives_tool()))
    assert [tool.name for tool in plugins.select_tools(["look", "crop_video"])] == ["look", "crop_video"]
    with pytest.raises(UnknownNameError) as error:
        plugins.select_tools(["crop_vdeo"])
    said = str(error.value)
    assert said.startswith("No tool named 'crop_vdeo'. Did you mean 'crop_video'? Installed: crop_video (built-in), ")
    assert "look (example, given by the caller)" in said


# What is refused


def test_a_mistyped_hook_name_is_refused_by_name():
    def register_tool(register): ...

    with pytest.raises(
        PluginError, match=r"plugin 'example' \(given by the caller\): unknown hook 'register_tool'"
    ) as e:
        manager(plugin(register_tool=register_tool))
    assert str(e.value).endswith(f"Hooks: {', '.join(hook_names())}.")


def test_a_hook_with_a_wrong_argument_name_is_refused_by_plugin_hook_and_argument():
    def register_tools(registry): ...

    with pytest.raises(PluginError) as error:
        manager(plugin(register_tools=register_tools))
    assert all(word in str(error.value) for word in ("'example'", "register_tools", "'registry'"))
    assert "\n" not in str(error.value)


def test_a_plugin_whose_functions_are_not_marked_is_refused_rather_than_ignored():
    module = types.ModuleType("forgetful")
    module.register_tools = gives_tool()
    with pytest.raises(PluginError, match=r"plugin 'forgetful' .* implements no hook: mark functions with @hookimpl"):
        manager(module)


def test_a_wrapper_is_refused_since_it_would_change_what_others_give():
    module = types.ModuleType("meddler")

    @hookimpl(wrapper=True)
    def register_tools(register):
        yield

    module.register_tools = register_tools
    with pytest.raises(PluginError, match=r"plugin 'meddler' .*: register_tools cannot be a wrapper"):
        manager(module)


def test_the_same_module_twice_is_refused():
    module = plugin(register_judges=lambda register: None)
    module_again = module
    with pytest.raises(DuplicateNameError, match="'example' is given by both"):
        manager(module, module_again)


def test_an_error_inside_a_hook_names_the_plugin_and_keeps_its_own_line():
    def register_tools(register):
        raise KeyError("zoom")

    with pytest.raises(PluginError, match=r"plugin 'example' .* failed in register_tools: KeyError: 'zoom'") as error:
        manager(plugin(register_tools=register_tools))
    assert error.value.__cause__.__traceback__.tb_next.tb_frame.f_code.co_name == "register_tools"


@pytest.mark.parametrize(
    ("hook", "gift", "complaint"),
    [
        ("register_tools", lambda register: register(lambda ctx: ""), "snake_case"),
        (
            "register_judges",
            lambda register: register("strict", "not a factory"),
            "'strict' must be a class or a function",
        ),
        ("register_judges", lambda register: register(print), "missing 1 required positional argument: 'factory'"),
        ("register_video_readers", lambda register: register(print, "gif"), "needs a text as the name"),
        (
            "register_steps",
            lambda register: register(type("Nameless", (), {})),
            "Nameless needs the class attributes name",
        ),
        (
            "register_steps",
            lambda register: register(type("Plain", (), {"name": "plain", "version": 1})),
            r"Plain must be decorated with @dataclass\(frozen=True\)",
        ),
    ],
)
def test_a_gift_that_breaks_its_contract_is_refused(hook, gift, complaint):
    with pytest.raises(PluginError, match=rf"plugin 'example' \(given by the caller\) failed in {hook}: .*{complaint}"):
        manager(plugin(**{hook: gift}))


@pytest.mark.parametrize("hook", ["register_tools", "register_video_readers", "register_judges"])
def test_two_plugins_cannot_give_one_name(hook):
    def gift(register):
        register(look) if hook == "register_tools" else register("look", print)

    with pytest.raises(
        DuplicateNameError, match=r"'look' is registered by both a, given by the caller and b, given by"
    ):
        manager(plugin("a", **{hook: gift}), plugin("b", **{hook: gift}))


def test_a_third_party_tool_cannot_take_the_name_of_a_built_in_one(site):
    code = "from longvt_plugins import hookimpl\nfrom longvt_plugins.tools.crop_video import crop_video\n"
    install(
        site, "longvt-zoom", "zoom", code + "@hookimpl\ndef register_tools(register): register(crop_video)\n", "0.1"
    )
    with pytest.raises(DuplicateNameError) as error:
        create_plugin_manager()
    assert str(error.value) == (
        "tool 'crop_video' is registered by both built-in and zoom, longvt-zoom 0.1. "
        "Rename one: tool names are trained into the model."
    )


# Installed distributions


def test_two_distributions_with_one_entry_point_name_raise_instead_of_hiding_the_second(site):
    install(site, "longvt-zoom", "zoom", GIVES_JUDGE.format(name="one"))
    install(site, "other-zoom", "zoom", GIVES_JUDGE.format(name="two"), version="2.0")
    with pytest.raises(DuplicateNameError) as error:
        create_plugin_manager()
    assert str(error.value) == (
        "plugin 'zoom' is given by both longvt-zoom 1.0 and other-zoom 2.0. "
        "Uninstall one, or set LONGVT_DISABLED_PLUGINS=zoom to load neither."
    )


def test_a_broken_import_names_the_plugin_and_the_way_out(site, monkeypatch):
    install(site, "longvt-zoom", "zoom", "import cv2_is_not_here\n", version="0.1")
    with pytest.raises(PluginError) as error:
        create_plugin_manager()
    assert str(error.value) == (
        "plugin 'zoom' (longvt-zoom 0.1) failed to import: No module named 'cv2_is_not_here'. "
        "Repair it, or set LONGVT_DISABLED_PLUGINS=zoom."
    )
    monkeypatch.setenv("LONGVT_DISABLED_PLUGINS", "zoom")
    plugins = create_plugin_manager()
    assert [(info.name, info.distribution) for info in plugins.disabled] == [("zoom", "longvt-zoom 0.1")]


def test_the_block_list_keeps_a_plugin_out_without_importing_it(site, monkeypatch):
    install(site, "longvt-zoom", "zoom", GIVES_JUDGE.format(name="one"))
    install(site, "longvt-pan", "pan", GIVES_JUDGE.format(name="two"))
    monkeypatch.setenv("LONGVT_DISABLED_PLUGINS", " pan, unheard_of,")
    plugins = create_plugin_manager()
    assert "one" in plugins.judges
    assert "two" not in plugins.judges
    assert "longvt_pan" not in sys.modules
    assert "two" in create_plugin_manager(disabled=["zoom"]).judges, "an argument stands above the environment"


# Calls and observers


def test_observers_see_every_call_and_how_it_ended():
    seen = []

    def tool_called(call, outcome, seconds):
        seen.append((call.arguments["second"], outcome, seconds >= 0))

    plugins = manager(plugin(register_tools=gives_tool(), tool_called=tool_called))
    call(plugins, 3.0)
    with pytest.raises(ToolError) as error:
        call(plugins, -1.0)
    assert seen == [(3.0, [{"type": "text", "text": "looked at 3"}], True), (-1.0, error.value, True)]


def test_an_observer_that_raises_is_logged_and_harmless(caplog):
    seen = []

    def broken(call):
        raise RuntimeError("disk full")

    plugins = manager(
        plugin("a", register_tools=gives_tool(), tool_called=broken),
        plugin("b", tool_called=lambda call: seen.append(call.name)),
    )
    with caplog.at_level(logging.ERROR):
        assert call(plugins) == [{"type": "text", "text": "looked at 3"}]
        with pytest.raises(ToolError, match="must not be negative"):
            call(plugins, -1.0)
    assert seen == ["look", "look"]
    assert "plugin 'a' failed in tool_called" in caplog.text
    assert "disk full" in caplog.text


def test_what_an_observer_writes_into_a_reply_reaches_nobody():
    def tool_called(call, outcome):
        call.arguments.clear()
        outcome[0]["text"] = "something else"
        outcome.append("garbage")

    plugins = manager(plugin(register_tools=gives_tool(), tool_called=tool_called))
    asked = ToolCall("call_1", "look", {"second": 3.0})
    reply = plugins.call_tool(plugins.tools.get("look"), ToolContext({}), asked)
    assert reply == [{"type": "text", "text": "looked at 3"}]
    assert asked.arguments == {"second": 3.0}


def test_ctrl_c_in_a_tool_stays_ctrl_c():
    def wait(ctx: ToolContext) -> str:
        """Wait."""
        raise KeyboardInterrupt

    plugins = manager(plugin(register_tools=gives_tool(wait), tool_called=lambda outcome: None))
    with pytest.raises(KeyboardInterrupt):
        plugins.call_tool(plugins.tools.get("wait"), ToolContext({}), ToolCall("call_1", "wait"))


def test_a_model_can_only_call_the_tools_that_its_rollout_offers():
    plugins = manager(plugin(register_tools=gives_tool()))
    offered: list[Tool] = plugins.select_tools(["look"])
    wanted = ToolCall("call_1", "crop_video", {})
    with pytest.raises(ToolError, match="no tool named 'crop_video'; the tools are: look"):
        run_tool_call(plugins, offered, ToolContext({}), wanted)


def test_the_trace_variable_prints_every_hook_call_on_standard_error_and_nowhere_else(capsys, monkeypatch):
    monkeypatch.setenv("LONGVT_PLUGIN_TRACE", "1")
    plugins = manager(plugin(register_tools=gives_tool(), tool_called=lambda call: None))
    call(plugins)
    printed = capsys.readouterr()
    assert "longvt: register_tools of longvt_plugins.tools.crop_video: tool crop_video\n" in printed.err
    assert "longvt: register_tools of example: tool look\n" in printed.err
    assert re.search(r"longvt: tool_called of example: look, \d+\.\d{3} s\n", printed.err)
    assert printed.out == "", "an MCP server speaks on standard output"


def test_without_the_trace_variable_nothing_is_printed(capsys, monkeypatch):
    monkeypatch.delenv("LONGVT_PLUGIN_TRACE", raising=False)
    call(manager(plugin(register_tools=gives_tool(), tool_called=lambda call: None)))
    assert capsys.readouterr() == ("", "")


# The example plugin, installed for real


def test_one_of_everything_arrives_from_the_installed_example_plugin(example_plugin, run):
    listed = json.loads(run("longvt", "plugins", "--json", path=example_plugin).stdout)
    (zoom,) = [entry for entry in listed if entry["name"] == "zoom"]
    assert zoom["distribution"] == "longvt-zoom 0.1.0"
    assert zoom["hooks"] == hook_names(), "the example shows every hook there is"
    assert zoom["names"] == ["judge contains", "step drop_portrait", "tool zoom_pixels", "video reader gif"]


def test_the_example_plugin_only_adds_names(example_plugin, run):
    def listed(**options):
        return json.loads(run("longvt", "plugins", "--json", **options).stdout)

    assert listed() == [entry for entry in listed(path=example_plugin) if entry["name"] != "zoom"]


def test_the_judge_of_the_example_plugin_judges(example_plugin):
    code = (
        "import asyncio\nfrom longvt_plugins import create_plugin_manager\n"
        "from longvt_plugins.judges import JudgeConfig\n"
        "judge = create_plugin_manager().judges.get('contains')(JudgeConfig('contains'))\n"
        "print(asyncio.run(judge('Which colour?', 'red', 'It is red')).score)"
    )
    env = os.environ | {"PYTHONPATH": str(example_plugin)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"
