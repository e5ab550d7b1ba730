"""A tool of an installed plugin is called by the teacher of traces once the step names it."""

from __future__ import annotations

from datapipe import Kept, Toolbox
from datapipe.steps.generate_imcott import GenerateIMCoTT
from longvt_plugins.chat import ChatConfig
from longvt_plugins.testing_server import ScriptedChatServer, assistant
from longvt_plugins.video import FrameSampling

from .conftest import pair_of

SMALL = FrameSampling(fps=1.0, max_frames=2, max_pixels=28 * 28)


def test_a_tool_of_an_installed_plugin_writes_traces(video, example_plugin, monkeypatch):
    monkeypatch.syspath_prepend(example_plugin)
    zoom = {"video_path": "video_1.mp4", "timestamp": 11, "bbox": [0, 0, 48, 48]}
    replies = [
        assistant("<think>There.</think>", [("c1", "zoom_pixels", zoom)]),
        assistant("<think>I see it.</think><answer>forty-one</answer>"),
    ]
    step = GenerateIMCoTT(tools=("zoom_pixels",), plan=False, overview=SMALL, crop=SMALL)
    with ScriptedChatServer(replies) as server:
        config = ChatConfig(base_url=server.base_url, model="scripted", max_retries=0)
        with Toolbox({"default": config}) as toolbox:
            (outcome,) = step([pair_of(video)], toolbox)
    assert isinstance(outcome, Kept), outcome
    (reply,) = [message for message in outcome.record.messages if message["role"] == "tool"]
    assert reply["content"][0]["text"] == "11s, region [0.0, 0.0, 48.0, 48.0]:"
    assert outcome.record.answer == "forty-one"
