"""``longvt ui`` in a real browser: ask, watch, click a window, compare. Without one, see test_conversation.py."""

import json
import re
import signal
import subprocess
import sys
import threading

import pytest

from longvt_plugins.testing import write_stamped_video
from longvt_plugins.testing_server import ScriptedChatServer, assistant, streamed

pytest.importorskip("gradio", reason="the extra ui is not installed")

CROP = ("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": 10, "end_time": 12})
HOSTILE = '<img src="http://192.0.2.1/x.png" onerror="document.title=\'owned\'"> ${document.title="owned"} {{value}}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_stamped_video(folder / "stamped.mp4", seconds=20, fps=4)
    return folder


@pytest.fixture
def serve_page():
    """Starts the command; gives the address of its page."""
    processes = []

    def serve(*args):
        command = [sys.executable, "-m", "longvt_plugins.cli", "ui", *map(str, args), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        line = process.stdout.readline()
        assert "Ctrl-C ends it" in line, process.stderr.read()
        return re.search(r"http://\S+", line)[0]

    yield serve
    for process in processes:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        process.stdout.close()
        process.stderr.close()


@pytest.mark.browser
@pytest.mark.slow
def test_turns_arrive_a_window_shows_its_frames_and_a_tool_is_compared_with_none(folder, serve_page, page):
    seen = threading.Event()
    turns = [
        streamed(assistant(f"<think>First I look. {HOSTILE}</think>", [CROP]), pause=lambda: seen.wait(30)),
        assistant("<think>It is red.</think><answer>red</answer>"),
    ]
    replies = iter(turns)

    def script(request):
        return next(replies) if "tools" in request else assistant("blue, I guess")

    with ScriptedChatServer(script) as server:
        where = ("--base-url", server.base_url, "--model", "scripted")
        address = serve_page(folder, *where, "--max-frames", "4", "--max-pixels", "7056")
        assert address.startswith("http://127.0.0.1:")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("#question textarea").fill("Which colour?")
        page.get_by_label("Compare with an answer without tools").check()
        page.get_by_role("button", name="Ask").click()
        # The server has sent no more than the first piece of the thought.
        page.locator("#answer-0 .thought").wait_for()
        assert page.locator("#answer-0 .answer").count() == 0
        seen.set()
        page.locator("#answer-0 .answer", has_text="red").wait_for()
        page.locator("#answer-1", has_text="blue, I guess").wait_for()
        page.locator("#answer-0 .facts", has_text="2 turns, 6 frames").wait_for()
        assert "onerror" in page.locator("#answer-0 .thought").first.inner_text()  # as text
        page.locator("#frames", has_text="look 1").wait_for()
        page.locator("#answer-0 button.look", has_text="overview: 4 frames").click()
        page.locator("#frames", has_text="overview").wait_for()
        assert shown(page) == ["0s", "5s", "10s", "15s"]
        page.locator('#answer-0 .line button[title="look 1: 10s to 12s"]').click()
        page.locator("#frames", has_text="look 1").wait_for()
        assert shown(page) == ["10s", "11s"]
        assert page.title() == "longvt"
        assert [url for url in asked if not url.startswith((address, "data:", "blob:", "ws://127.0.0.1"))] == []
    assert "crimson" not in json.dumps(server.requests)


def shown(page):
    """The seconds under the frames of the gallery."""
    captions = page.locator("#frames .caption-label")
    captions.first.wait_for()
    return [text.strip() for text in captions.all_inner_texts()]


@pytest.mark.browser
@pytest.mark.slow
def test_an_uploaded_video_is_asked_about_with_the_tools_as_they_are_configured(folder, serve_page, page):
    crop = ("c1", "crop_video", {"video_path": "video_1.mp4", "start_time": 10, "end_time": 11, "fps": 2})
    turns = [assistant("<think>Look.</think>", [crop]), assistant("<think>Red.</think><answer>red</answer>")]
    with ScriptedChatServer(turns) as server:
        where = ("--base-url", server.base_url, "--model", "scripted", "--max-frames", "4", "--max-pixels", "7056")
        page.goto(serve_page(*where, "--tools", "crop_video:fps"))
        page.locator("#uploaded input[type=file]").set_input_files(folder / "stamped.mp4")
        page.locator("#uploaded video").wait_for()
        page.locator("#question textarea").fill("Which colour?")
        page.get_by_role("button", name="Ask").click()
        page.locator("#answer-0 .answer", has_text="red").wait_for(timeout=60_000)
        page.locator("#frames", has_text="look 1").wait_for()
        assert shown(page) == ["10s", "10.5s"]
    assert "fps" in server.requests[0]["tools"][0]["function"]["parameters"]["properties"]


@pytest.mark.browser
@pytest.mark.slow
def test_the_shipped_model_is_watched(serve_page, page, tmp_path):
    from longvt_plugins.rows import read_rows
    from longvt_plugins.synthetic.make import make_world
    from longvt_plugins.synthetic.world import TINY

    make_world(tmp_path / "world", TINY, {"test": 1}, seed=3, families=("what",), processes=1)
    (row,) = read_rows(tmp_path / "world" / "test.parquet")
    page.goto(serve_page(tmp_path / "world" / "videos", "--model", "tiny"))
    page.locator("#question textarea").fill(row["question"])
    page.get_by_role("button", name="Ask").click()
    page.locator("#answer-0 .answer").wait_for(timeout=60_000)
    page.locator("#answer-0 .facts", has_text="2 turns").wait_for()
    page.locator("#answer-0 .line button").first.click()
    page.locator("#frames", has_text="look 1").wait_for()
    assert len(shown(page)) == 8


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_clear_line(folder, run):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(
            *("longvt", "ui", folder, "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--port", port), code=2
        )
    assert f"127.0.0.1:{port} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_gradio_the_install_line_is_told(monkeypatch):
    from longvt_plugins.errors import MissingExtraError
    from longvt_plugins.ui import app

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'longvt-plugins[ui]'")):
        app.build_app(None, None)
