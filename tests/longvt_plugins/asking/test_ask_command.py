"""``longvt ask`` about one video: a scripted server over real HTTP, a real file."""

import json

import pytest

from longvt_plugins.testing_server import assistant, failure, truncated

ANSWER = assistant("<think>It is red.</think><answer>red</answer>")
SMALL = ("--max-frames", "4", "--max-pixels", "7056", "--model", "scripted")


def crop(start, end, call_id="c1", video="video_1.mp4", **more):
    return (call_id, "crop_video", {"video_path": video, "start_time": start, "end_time": end, **more})


def look(*calls):
    return assistant("<think>I look closer.</think>", calls)


def test_it_shows_thoughts_the_window_on_a_time_line_the_answer_and_what_it_took(longvt, serve, video):
    server = serve([look(crop(10, 12)), ANSWER])
    code, out, _ = longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].strip() == "video_1.mp4 lasts 20 s; 4 frames shown"
    assert lines[1] == "think   I look closer."
    assert lines[2] == "call    crop_video(start_time=10, end_time=12)"
    line = lines[3].strip().removeprefix("0s ").removesuffix(" 20s")
    assert set(line[len(line) // 2 : int(len(line) * 0.6)]) == {"█"}
    assert line.count("█") <= len(line) / 10 + 1
    assert lines[4].strip().startswith("2 frames from 10s to 12s:")
    assert lines[5:7] == ["think   It is red.", "answer  red"]
    assert "2 turns, 6 frames, 14 tokens read, 10 written" in lines[-1]
    assert "$" not in lines[-1]


def test_json_is_one_object_and_nothing_else(longvt, serve, video):
    server = serve([look(crop(10, 12)), ANSWER])
    prices = ("--price-input", "1", "--price-output", "2")
    code, out, err = longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL, *prices, "--json")
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert (record["answer"], record["windows"], record["turns"]) == ("red", [[10.0, 12.0]], 2)
    assert record["cost"] == pytest.approx((14 * 1 + 10 * 2) / 1e6)
    assert record["messages"][3]["content"][2]["image"]["time"] == 10.0


def test_html_is_one_page_with_the_frames_inside(longvt, serve, video, tmp_path):
    server = serve([look(crop(10, 12)), ANSWER])
    page = tmp_path / "out" / "trace.html"
    longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL, "--html", page)
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") >= 6
    assert 'src="http' not in text
    assert "Which colour?" in text


def test_the_model_of_a_server_with_only_one_need_not_be_named(longvt, serve, video):
    server = serve([ANSWER])
    code, out, _ = longvt(video, "Which colour?", "--base-url", server.base_url, "--quiet", "--max-frames", "2")
    assert (code, out) == (0, "red\n")
    assert server.requests[0]["model"] == "scripted"


def test_key_and_address_come_from_the_environment(longvt, serve, video, monkeypatch):
    server = serve([ANSWER])
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    code, out, _ = longvt(video, "Which colour?", *SMALL)
    assert code == 0
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    assert "secret" not in out


def test_without_tools_it_answers_at_once(longvt, serve, video):
    server = serve([assistant("It is blue.")])
    code, out, _ = longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL, "--no-tool")
    assert code == 0
    assert "text    It is blue." in out
    assert "tools" not in server.requests[0]


def test_options_are_shown_to_the_model(longvt, serve, video):
    server = serve([ANSWER])
    longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL, "--option", "ultramarine", "--option", "red")
    assert "ultramarine" in json.dumps(server.requests[0]["messages"])


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ([truncated("<think>I wonder")], "no answer: the last turn was cut off"),
        ([assistant("<think>Hm.</think>")], "no answer: the model stopped without one"),
        ([failure(400, "this model sees no images")], "not answered: chat server"),
    ],
)
def test_a_question_without_an_answer_ends_with_its_reason_and_code_1(longvt, serve, video, script, complaint):
    code, out, _ = longvt(video, "Which colour?", "--base-url", serve(script).base_url, *SMALL)
    assert code == 1
    assert complaint in out
    assert "Traceback" not in out


def test_a_mistake_of_the_model_is_shown_as_it_is_told(longvt, serve, video):
    server = serve([look(crop(30, 40)), look(("c2", "open_file", {"path": "/etc/passwd"})), ANSWER])
    code, out, _ = longvt(video, "Which colour?", "--base-url", server.base_url, *SMALL)
    assert code == 0
    assert "Error: " in out
    assert "there is no tool named 'open_file'" in out


def test_nothing_that_a_model_writes_commands_the_terminal(longvt, serve, video):
    hostile = "\x1b[2J\x1b]0;owned\x07[bold]red[/bold]\u202e"
    call = ("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": "\x1b[31m", "end_time": "\x9b0m"})
    script = [look(call), assistant(f"<think>{hostile}</think><answer>{hostile}</answer>")]
    _, out, _ = longvt(video, "Which colour?", "--base-url", serve(script).base_url, *SMALL)
    assert not set(out) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "[bold]red[/bold]" in out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["https://example.org/film.mp4", "Q?", "--model", "tiny"], "download it first"),
        (["rtsp://camera/1", "Q?", "--model", "tiny"], "only files are opened"),
        (["file:///etc/passwd", "Q?", "--model", "tiny"], "give the path itself"),
        (["missing.mp4", "Q?", "--model", "tiny"], "no video file 'missing.mp4'"),
        (["/dev/zero", "Q?", "--model", "tiny"], "not a regular file"),
        ([__file__, "  ", "--model", "tiny"], "the question is empty"),
        ([__file__], "a question is missing: longvt ask VIDEO QUESTION"),
        ([__file__, "Q?"], "no model is named: --model tiny"),
        ([__file__, "Q?", "--model", "nowhere"], "no checkpoint in 'nowhere'"),
        ([__file__, "Q?", "--model", "tiny", "--tools", "crop_vdeo"], "Did you mean 'crop_video'?"),
        ([__file__, "Q?", "--model", "tiny", "--reader", "pyva"], "pyva"),
        ([__file__, "Q?", "--model", "tiny", "--html", "trace.txt"], "one file named .html"),
        ([__file__, "Q?", "--model", "tiny", "--out", "runs"], "--out is for a folder"),
        ([__file__, "Q?", "--base-url", "localhost:8000"], "base_url must start with http"),
        ([__file__, "Q?", "--base-url", "http://127.0.0.1:9/v1"], "no connection"),
        ([__file__, "Q?", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--max-cost", "1"], "needs prices"),
        ([__file__, "Q?", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--max-frames", "0"], "max_frames"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_code_2(longvt, args, complaint):
    code, out, err = longvt(*args)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_third_partys_tool_is_used_by_naming_it(run, serve, video, example_plugin):
    call = ("c1", "zoom_pixels", {"video_path": "video_1.mp4", "timestamp": 3, "bbox": [0, 0, 48, 48]})
    server = serve([look(call), ANSWER])
    done = run(
        *("longvt", "ask", video, "Which colour?", "--tools", "zoom_pixels", "--base-url", server.base_url, *SMALL),
        path=example_plugin,
    )
    assert "call    zoom_pixels(timestamp=3, bbox=[0, 0, 48, 48])" in done.stdout
    assert "answer  red" in done.stdout
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["zoom_pixels"]
