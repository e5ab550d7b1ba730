"""Tools over MCP: one server for all calls, real processes and pictures, through the loop."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from eval_ext.mcp_tools import McpTools, offer_tools
from longvt_plugins.agent import AgentConfig, run_agents
from longvt_plugins.chat import ChatClient
from longvt_plugins.errors import ConfigError
from longvt_plugins.plugins import create_plugin_manager
from longvt_plugins.rows import read_rows
from longvt_plugins.testing_server import ScriptedChatServer, assistant
from longvt_plugins.video.sampling import FrameSampling

SERVER = """
import io, os, sys
from typing import Any
from mcp.server.fastmcp import FastMCP, Image
from PIL import Image as Pictures

server = FastMCP("tools", log_level="ERROR")

@server.tool(structured_output=False)
def crop_video(video_path: str, start_time: float, end_time: float, note: str | None = None) -> list[Any]:
    '''Shows a part of a video.'''
    open(sys.argv[1], "a").write(f"{os.getpid()} {video_path}\\n")
    if start_time > 100:
        raise ValueError(f"{video_path} is shorter")
    if start_time == 99:
        os._exit(1)
    file = io.BytesIO()
    Pictures.new("RGB", (28, 28), "red").save(file, "PNG")
    return [f"of {video_path}", *[Image(data=file.getvalue(), format="png")] * 3]

server.run()
"""
PIXELS = {"min_pixels": 784, "max_pixels": 784}


@pytest.fixture(scope="module")
def played(data, tmp_path_factory):
    """Four questions at once over one server; the first call is wrong, and the last question's breaks the server."""
    folder = tmp_path_factory.mktemp("mcp")
    (folder / "server.py").write_text(SERVER)
    rows = read_rows(data / "test.parquet")

    def script(request):
        replies = sum(message["role"] == "tool" for message in request["messages"])
        starts = [101, 8]
        if replies < len(starts):
            look = {"video_path": "video_1.mp4", "start_time": starts[replies], "end_time": 102}
            return assistant("<think>x</think>", [("c", "crop_video", look)])
        return assistant("<think>x</think><answer>red</answer>")

    plugins = create_plugin_manager()
    config = AgentConfig(overview=FrameSampling(max_frames=2, **PIXELS), max_frames=2)
    with McpTools(f"{sys.executable} {folder / 'server.py'} {folder / 'calls'}") as server:
        offer_tools(plugins, server)
        with ScriptedChatServer(script) as chat:
            client = ChatClient(chat.base_url, "m", max_retries=0)
            rollouts = asyncio.run(run_agents(client, rows, config, plugins))
            breaking = assistant(
                "<think>x</think>",
                [("c", "crop_video", {"video_path": "video_1.mp4", "start_time": 99, "end_time": 100})],
            )
        with ScriptedChatServer([breaking]) as chat:
            client = ChatClient(chat.base_url, "m", max_retries=0)
            (broken,) = asyncio.run(run_agents(client, rows[:1], config, plugins))
    calls = [line.split() for line in (folder / "calls").read_text().splitlines()]
    return rows, rollouts, broken, calls, chat


def replies(rollout):
    return [message["content"] for message in rollout.messages if message["role"] == "tool"]


def test_one_server_serves_every_call_of_every_rollout(played):
    rows, rollouts, _, calls, _ = played
    assert len({process for process, _ in calls}) == 1
    assert len(calls) == 2 * len(rows) + 1
    assert [rollout.stop_reason for rollout in rollouts] == ["answered"] * len(rows)


def test_the_server_gets_the_file_and_the_model_never_does(played):
    rows, rollouts, _, calls, _ = played
    (file,) = {row["videos"]["video_1.mp4"] for row in rows}
    assert {path for _, path in calls} == {str(file)}
    assert str(Path(file).parent) not in json.dumps([rollout.messages for rollout in rollouts])


def test_what_the_server_refuses_is_told_to_the_model_which_goes_on(played):
    _, rollouts, _, _, _ = played
    for rollout in rollouts:
        refused, shown = replies(rollout)
        assert "Error: " in json.dumps(refused)
        assert "video_1.mp4 is shorter" in json.dumps(refused)
        assert [block["type"] for block in shown] == ["text", "image", "image"]  # the budget has two frames
        assert shown[0]["text"] == "of video_1.mp4"


def test_a_server_that_breaks_ends_the_rollout_with_its_reason(played):
    _, _, broken, _, _ = played
    assert broken.stop_reason == "error"
    assert "tool crop_video" in broken.error


@pytest.mark.parametrize("server", ["nowhere-to-be-found", f"{sys.executable} -c 1", "http://127.0.0.1:9/mcp"])
def test_a_server_that_cannot_be_asked_is_a_fault_of_the_configuration(server):
    with pytest.raises(ConfigError, match="mcp server"):
        McpTools(server)
