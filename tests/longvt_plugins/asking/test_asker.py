"""Asking from Python: one asker, several questions, wherever one is."""

import asyncio
import inspect

import pytest

import longvt_plugins
from longvt_plugins import ask
from longvt_plugins.asking import Asker
from longvt_plugins.errors import ConfigError
from longvt_plugins.events import Wrote
from longvt_plugins.testing_server import assistant
from longvt_plugins.types import TimeSpan
from longvt_plugins.video.sampling import FrameSampling

ANSWER = assistant("<think>It is red.</think><answer>red</answer>")
SMALL = {
    "overview": FrameSampling(max_frames=4, min_pixels=784, max_pixels=7056),
    "model_settings": {"max_retries": 0},
}


def crop(start, end, call_id="c1", video="video_1.mp4", **more):
    return (call_id, "crop_video", {"video_path": video, "start_time": start, "end_time": end, **more})


def look(*calls):
    return assistant("<think>I look closer.</think>", calls)


def test_ask_is_a_function_also_after_its_package_was_imported(video, serve):
    assert longvt_plugins.ask is ask
    assert inspect.isfunction(ask)
    answer = ask(
        video, "Which colour?", model="scripted", base_url=serve([look(crop(10, 12)), ANSWER]).base_url, **SMALL
    )
    assert (answer.text, answer.windows, answer.turns) == ("red", (TimeSpan(10, 12),), 2)
    assert (answer.prompt_tokens, answer.tokens, answer.cost, answer.error) == (14, 10, None, None)


def test_an_asker_answers_several_questions_one_of_them_without_tools(video, serve):
    server = serve([ANSWER, assistant("blue")])
    heard = []
    with Asker("scripted", base_url=server.base_url, **SMALL) as asker:
        first = asker.ask(video, "Which colour?", watch=heard.append)
        second = asker.ask([video, video], "And here?", form="non_think")
    assert (first.text, second.text) == ("red", "blue")
    assert (
        "".join(event.text for event in heard if isinstance(event, Wrote))
        == ANSWER.body["choices"][0]["message"]["content"]
    )
    assert list(second.rollout.row["videos"]) == ["video_1.mp4", "video_2.mp4"]


def test_it_works_where_an_event_loop_is_running_already(video, serve):
    async def notebook():
        return ask(video, "Which colour?", model="scripted", base_url=serve([ANSWER]).base_url, **SMALL)

    assert asyncio.run(notebook()).text == "red"


def test_a_broken_video_and_a_server_that_is_down_are_answers_with_an_error(video, serve, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    server = serve([])
    with Asker("scripted", base_url=server.base_url, **SMALL) as asker:
        broken = asker.ask(tmp_path / "broken.mp4", "Which colour?")
        server.stop()
        down = asker.ask(video, "Which colour?")
    assert (broken.text, down.text) == (None, None)
    assert "broken.mp4" in broken.error
    assert "no connection" in down.error


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"max_call": 3}, "unknown setting max_call"),
        ({"max_calls": -1}, "must not be negative"),
        ({"form": "tools"}, "form must be one of"),
    ],
)
def test_a_faulty_setting_is_told_before_a_model_is_loaded(video, settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ask(video, "Which colour?", model="no such model", **settings)


def test_settings_hold_no_key(serve):
    with Asker("m", base_url=serve([]).base_url, model_settings={"api_key": "secret"}) as asker:
        assert "secret" not in repr(asker.settings())
