"""A tool of an installed plugin is offered by lmms-eval's model once ``--model_args`` names it."""

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.testing_server import ScriptedChatServer, assistant

SMALL = "model=scripted,max_retries=0,overview_max_frames=4,min_pixels=784,max_pixels=784"


def test_a_tool_of_an_installed_plugin_is_evaluated_with(use_data, evaluate, tmp_path, example_plugin, monkeypatch):
    monkeypatch.syspath_prepend(example_plugin)

    def script(request):
        if any(message["role"] == "tool" for message in request["messages"]):
            return assistant("<think>I see it.</think><answer>red</answer>")
        arguments = {"video_path": "video_1.mp4", "timestamp": 9, "bbox": [0, 0, 28, 28]}
        return assistant("<think>There.</think>", [("c1", "zoom_pixels", arguments)])

    with ScriptedChatServer(script) as server:
        arguments = f"base_url={server.base_url},{SMALL},tools=zoom_pixels,rollouts={tmp_path}"
        results = evaluate("longvt", ["longvt_synthetic_tool"], arguments)
    numbers = results["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["calls,none"], numbers["failed,none"]) == (0.5, 1.0, 0)
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["zoom_pixels"]
    rollout, *_ = read_rollouts(tmp_path / "longvt_synthetic_tool")
    (reply,) = [message for message in rollout.messages if message["role"] == "tool"]
    assert reply["content"][0]["text"] == "9s, region [0.0, 0.0, 28.0, 28.0]:"


def test_options_of_tools_pass_through_model_args():
    from lmms_eval.utils import simple_parse_args_string

    from eval_ext.arguments import ServerArguments, parse_arguments
    from longvt_plugins.testing import plugin_manager

    given = simple_parse_args_string("base_url=http://x/v1,model=m,tools=crop_video:fps+search_subtitles:lines=3")
    tools = plugin_manager().select_tools(parse_arguments(ServerArguments, given, "longvt", {}).agent_config().tools)
    assert "fps" in tools[0].schema["function"]["parameters"]["properties"]
    assert tools[1].options["lines"] == 3
