"""The page of rollouts, as files and in a real browser."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from longvt_plugins.rollouts import Rollout, shard_path, write_rollouts
from longvt_plugins.testing import write_stamped_video
from longvt_plugins.viewer import PageLimits, write_page

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "stamped.mp4"
    write_stamped_video(path, 30, fps=2)
    return path


def image(time):
    reference = {"video": "video_1.mp4", "time": time, "width": 96, "height": 96}
    return [{"type": "text", "text": f"{time:g}s"}, {"type": "image", "image": reference}]


def rollout(video, name, *, run="one", step=1, start=10, answer="red", score=1.0, question="Which colour?"):
    row = {"id": name, "videos": {"video_1.mp4": str(video)}, "kind": "open", "question": question, "answer": "red",
           "video_segment": [10.0, 14.0], "options": None, "source": "test"}  # fmt: skip
    arguments = {"video_path": "video_1.mp4", "start_time": start, "end_time": start + 4}
    call = {"id": "c1", "type": "function", "function": {"name": "crop_video", "arguments": arguments}}
    overview = [block for time in (0.0, 10.0, 20.0) for block in image(time)]
    messages = [
        {"role": "system", "content": "You answer questions about videos."},
        {"role": "user", "content": [*overview, {"type": "text", "text": question}]},
        {"role": "assistant", "content": "<think>When?</think>", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "crop_video", "content": [*image(11.0), *image(12.0)]},
        {"role": "assistant", "content": f"<think>Seen.</think><answer>{answer}</answer>"},
    ]
    rewards = {"answer_reward": score, "time_iou_reward": None}
    return Rollout.from_messages(row, messages, run=run, step=step, stop_reason="answered", rewards=rewards, tokens=9)


def open_page(page, file):
    page.goto(Path(file).absolute().as_uri())
    return page


@pytest.mark.browser
def test_a_rollout_is_shown_with_its_frames_on_the_time_line(page, video, tmp_path):
    written = write_page([rollout(video, "q1")], tmp_path / "page")
    assert (written.rollouts, written.left_out, written.failures) == (1, 0, {})
    open_page(page, written.page)
    assert page.locator("h2").inner_text() == "Which colour?"
    line = page.locator(".time")
    box, reference, crop = (found.bounding_box() for found in (line, line.locator(".reference"), line.locator(".crop")))
    assert (reference["x"] - box["x"]) / box["width"] == pytest.approx(10 / 30, abs=0.01)
    assert crop["width"] / box["width"] == pytest.approx(4 / 30, abs=0.01)
    assert line.locator(".tick").count() == 5
    images = page.locator("figure img")
    assert images.count() == 5
    assert images.evaluate_all("found => found.every(image => image.complete && image.naturalWidth === 96)")
    assert page.locator("figure.in").count() == 3, "frames inside the reference window stand out"


@pytest.mark.browser
def test_the_list_is_filtered_by_reward_and_text_and_paged_by_key(page, video, tmp_path):
    rollouts = [rollout(video, f"q{n}", score=n / 4, question=f"Question {n}?") for n in range(5)]
    open_page(page, write_page(rollouts, tmp_path / "page").page)
    items = page.locator("#list button")
    assert items.count() == 5
    page.keyboard.press("j")
    assert page.locator("h2").inner_text() == "Question 1?"
    page.select_option("#reward", "answer_reward")
    page.fill("#low", "0.6")
    assert items.count() == 2 and page.locator("#count").inner_text() == "2 of 5"
    page.fill("#low", "")
    page.select_option("#order", "reward")
    assert page.locator("h2").inner_text() == "Question 4?"
    page.fill("#text", "question 2")
    assert items.count() == 1
    page.fill("#text", "nothing like it")
    assert "No rollout" in page.locator("#shown").inner_text()


@pytest.mark.browser
def test_two_runs_stand_side_by_side_by_question(page, video, tmp_path):
    one = [rollout(video, "q1"), rollout(video, "q2")]
    two = [rollout(video, "q1", run="two", start=20, answer="blue", score=0.0)]
    open_page(page, write_page(one, tmp_path / "page", against=two).page)
    assert page.locator("article").count() == 2
    assert page.locator("article h2").all_inner_texts() == ["A: Which colour?", "B: Which colour?"]
    assert "answer: blue" in page.locator("article").nth(1).inner_text()
    page.keyboard.press("j")
    assert "no rollout of this question" in page.locator("article").nth(1).inner_text()


@pytest.mark.browser
def test_what_a_model_wrote_stays_text(page, video, tmp_path):
    hostile = rollout(video, HOSTILE, answer=HOSTILE, question=HOSTILE)
    open_page(page, write_page([hostile], tmp_path / "page").page)
    assert page.title() == "Rollouts"
    assert page.locator("h2").inner_text() == HOSTILE
    assert page.locator("script").count() == 1


@pytest.mark.browser
def test_one_file_holds_its_pictures(page, video, tmp_path):
    written = write_page([rollout(video, "q1")], tmp_path / "trace.html")
    assert [file.name for file in tmp_path.iterdir()] == ["trace.html"]
    open_page(page, written.page)
    assert page.locator("figure img").first.evaluate("image => image.naturalWidth") == 96


@pytest.mark.browser
def test_a_video_that_is_gone_leaves_the_rest_of_the_page(page, tmp_path):
    written = write_page([rollout(tmp_path / "gone.mp4", "q1")], tmp_path / "page")
    (reason,) = written.failures.values()
    assert "gone.mp4" in reason
    open_page(page, written.page)
    assert page.locator(".none").count() == 5 and page.locator(".crop").count() == 1


def data_of(page):
    found = re.search(r"const DATA = (.*);$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return json.loads(found[1])


def test_a_page_has_a_limit_and_says_what_it_leaves_out(video, tmp_path):
    rollouts = [rollout(video, f"q{n}", step=n) for n in range(10)]
    written = write_page(rollouts, tmp_path / "page", limits=PageLimits(rollouts=3, frames=2, characters=5))
    assert (written.rollouts, written.left_out) == (3, 7)
    data = data_of(written.page)
    assert data["left_out"] == 7 and [shown["step"] for shown in data["runs"][0]] == [0, 3, 6]
    opening = data["runs"][0][0]["turns"][1]
    assert (len(opening["frames"]), opening["left_out"]) == (2, 1)
    assert opening["text"] == "Which" and opening["cut"] > 0


def test_seconds_written_before_frames_are_not_repeated_as_text(video, tmp_path):
    turns = data_of(write_page([rollout(video, "q1")], tmp_path / "page").page)["runs"][0][0]["turns"]
    assert turns[1]["text"] == "Which colour?" and turns[3]["text"] == ""


# The command


@pytest.fixture
def saved(video, tmp_path):
    folder = tmp_path / "rollouts"
    good = [rollout(video, "q1", step=1), rollout(video, "q2", step=1, answer="blue", score=0.0)]
    write_rollouts(good, shard_path(folder, 1))
    write_rollouts([rollout(video, "q1", step=2, answer="blue", score=0.0)], shard_path(folder, 2))
    return folder


def test_the_command_writes_a_page(run, saved, tmp_path):
    result = run("longvt", "rollouts", "view", saved, "--out", tmp_path / "page")
    assert result.stdout.endswith("index.html: 3 rollouts\n")
    assert len(list((tmp_path / "page" / "frames").glob("*.jpg"))) == 5, "each picture once"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{saved}"], "needs --out"),
        (["{saved}/none", "--out", "page"], "no rollouts at"),
        (["{saved}", "--out", "page", "--limit", "0"], "must be 1 or more"),
        (["{saved}", "--out", "a.html", "--serve"], "serves a folder"),
    ],
)
def test_a_mistake_is_told_in_one_line(run, saved, args, message):
    result = run("longvt", "rollouts", "view", *(text.format(saved=saved) for text in args), code=2)
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_the_page_is_served_on_this_machine_and_nothing_else_is(saved, tmp_path):
    out = tmp_path / "page"
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from longvt_plugins.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "rollouts", "view", str(saved), "--serve", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        assert b"<title>Rollouts" in urllib.request.urlopen(address).read()
        (out / "link.py").symlink_to(__file__)
        for outside in ("../rollouts/", "%2e%2e/rollouts/", "link.py"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + outside)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_rl_questions_are_selected_with_their_provenance(run, saved, tmp_path):
    out = tmp_path / "rl.parquet"
    result = run("longvt", "rollouts", "select-rl", saved, "--out", out, "--min-rollouts", "1", "--band", "0:60")
    assert result.stdout.splitlines() == ["dropped 1: all wrong", f"{out}: 1 of 2 questions"]
    assert pq.read_table(out)["id"].to_pylist() == ["q1"]
    provenance = json.loads((tmp_path / "rl.provenance.json").read_text())
    assert provenance["dropped"] == {"all wrong": 1} and provenance["settings"]["band"] == ["0:60"]


def test_rft_conversations_are_selected_with_their_frames(run, saved, tmp_path):
    out = tmp_path / "rft.parquet"
    result = run("longvt", "rollouts", "select-rft", saved, "--out", out)
    assert result.stdout.splitlines()[-1] == f"{out}: 1 of 3 rollouts"
    table = pq.read_table(out)
    assert len(table) == 1 and '"name": "crop_video"' in table["messages"][0].as_py()
    assert json.loads((tmp_path / "rft.provenance.json").read_text())["kept"] == 1


def test_a_selection_that_keeps_nothing_says_so_and_writes_nothing(run, saved, tmp_path):
    out = tmp_path / "rft.parquet"
    result = run("longvt", "rollouts", "select-rft", saved, "--out", out, "--min-iou", "1.01", code=2)
    assert "none of the 3 rollouts is good enough" in result.stderr
    assert not out.exists()
