"""The review page in a real browser: what it shows, and the file that comes back from it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from datapipe.review.decisions import read_decisions
from datapipe.review.entries import Entry
from datapipe.review.page import write_review_page
from longvt_plugins.testing import write_stamped_video

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no program chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "talk.mp4"
    write_stamped_video(path, 20)
    return path


@pytest.fixture
def entries(film) -> list[Entry]:
    verdict = {"by": "filter_vlm", "accepted": True, "scores": {"mean": 0.91}, "reason": "seen"}
    first = Entry(
        id="talk-1.qapair-1", video="talk-1", path=str(film), duration=20.0, start=4.0, end=8.0,
        question="Which colour is the <b>car</b>?", answer="red", question_type="attribute",
        captions=((2.0, 9.0, "A red car leaves the yard."),), verdicts=(verdict,),
    )  # fmt: skip
    second = replace(first, id="talk-1.qapair-2", question="Who waits?", answer="a man", start=10.0, end=12.0)
    third = replace(
        first, id="talk-1.trace-3", question="What is eaten?", windows=((10.0, 14.0),), trace_answer="bread",
        reason="answer not right",
    )  # fmt: skip
    return [first, second, third]


@pytest.fixture
def opened(page, entries, tmp_path):
    """The page, open in the browser."""
    assert write_review_page(entries, tmp_path / "review.html", title="runs/demo") == {}
    page.goto((tmp_path / "review.html").as_uri())
    return page


def saved(opened, tmp_path):
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Save decisions").click()
    path = tmp_path / "decisions.jsonl"
    download.value.save_as(path)
    return [json.loads(line) for line in path.read_text().splitlines()], path


def card(opened, number):
    return opened.locator("article").nth(number)


def test_frames_description_question_window_and_verdicts_are_shown(opened):
    assert opened.title() == "Review: runs/demo"
    assert opened.locator("article").count() == 3
    first = card(opened, 0)
    assert first.get_by_label("Question").input_value() == "Which colour is the <b>car</b>?", "text, not markup"
    assert first.get_by_label("Start, s").input_value() == "4"
    assert first.locator("img").count() == 8
    assert all(first.locator("img").nth(n).evaluate("image => image.naturalWidth > 0") for n in range(8))
    assert first.locator("figure.in").count() == 5, "the others lie in the margin on both sides"
    assert "filter_vlm: accepted (mean 0.91): seen" in first.inner_text()
    assert "null" not in first.inner_text()
    assert "2–9 s: A red car leaves the yard." in first.inner_text()
    assert "dropped: answer not right" in card(opened, 2).inner_text()
    assert card(opened, 2).locator(".crop").count() == 1


def test_accepting_rejecting_and_editing_end_in_a_file(opened, entries, tmp_path):
    opened.get_by_label("reviewer").fill("Ada")
    card(opened, 0).get_by_label("Answer").fill("dark red")
    card(opened, 0).get_by_label("End, s").fill("7.5")
    card(opened, 0).get_by_role("button", name="Accept").click()
    card(opened, 1).get_by_label("Note").fill("one cannot see him")
    card(opened, 1).get_by_role("button", name="Reject").click()
    card(opened, 2).get_by_role("button", name="Accept").click()
    status = opened.get_by_role("status").inner_text()
    assert status == "3 of 3 decided: 1 accepted, 1 rejected, 1 edited"
    lines, path = saved(opened, tmp_path)
    assert lines == [
        {"id": entries[0].id, "decision": "edit", "answer": "dark red", "end": 7.5, "seen_answer": "red",
         "reviewer": "Ada"},
        {"id": entries[1].id, "decision": "reject", "seen_answer": "a man", "note": "one cannot see him",
         "reviewer": "Ada"},
        {"id": entries[2].id, "decision": "accept", "seen_answer": "red", "reviewer": "Ada"},
    ]  # fmt: skip
    assert set(read_decisions(path)) == {entry.id for entry in entries}


def test_decisions_outlive_the_page_and_can_be_taken_back(opened, tmp_path):
    card(opened, 0).get_by_role("button", name="Reject").click()
    opened.reload()
    assert card(opened, 0).get_attribute("data-decision") == "reject"
    card(opened, 0).get_by_role("button", name="Undecided").click()
    opened.reload()
    assert opened.get_by_role("status").inner_text().startswith("0 of 3 decided")


def test_a_window_that_makes_no_sense_is_not_accepted(opened):
    card(opened, 0).get_by_label("Start, s").fill("9")
    card(opened, 0).get_by_role("button", name="Accept").click()
    assert card(opened, 0).get_by_role("alert").inner_text() == "The window must satisfy 0 ≤ start < end ≤ 20."
    assert card(opened, 0).get_attribute("data-decision") == ""


def test_the_keyboard_does_it_too(opened):
    for key in ("a", "j", "r"):
        opened.keyboard.press(key)
    assert [card(opened, n).get_attribute("data-decision") for n in range(3)] == ["accept", "reject", ""]
    opened.locator("#which").select_option("open")
    assert opened.locator("article").count() == 1


def test_saved_decisions_can_be_loaded_again(opened, entries, tmp_path):
    kept = tmp_path / "earlier.jsonl"
    kept.write_text(json.dumps({"id": entries[1].id, "decision": "reject"}) + "\n")
    opened.locator("#load").set_input_files(kept)
    opened.wait_for_function("document.querySelectorAll('article[data-decision=reject]').length === 1")


def test_a_file_that_holds_no_decisions_is_told(opened, tmp_path):
    (tmp_path / "notes.jsonl").write_text("no decisions\n")
    opened.locator("#load").set_input_files(tmp_path / "notes.jsonl")
    opened.wait_for_function("document.getElementById('count').textContent.startsWith('This is no file of decisions')")


def test_a_video_that_is_gone_leaves_the_question(page, entries, tmp_path):
    gone = replace(entries[0], path=str(tmp_path / "gone.mp4"))
    failures = write_review_page([gone], tmp_path / "page", title="runs/demo")
    assert list(failures) == [gone.path]
    page.goto((tmp_path / "page" / "index.html").as_uri())
    assert page.locator("article").count() == 1
    assert page.locator("img").count() == 0


def test_pictures_lie_beside_a_page_in_a_folder(page, entries, tmp_path):
    write_review_page(entries[:1], tmp_path / "page", title="runs/demo", frames=3)
    assert len(list((tmp_path / "page" / "frames").iterdir())) == 3
    page.goto((tmp_path / "page" / "index.html").as_uri())
    assert page.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
