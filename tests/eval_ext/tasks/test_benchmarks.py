"""Documents as they are published, read as questions."""

import pytest

from eval_ext.tasks.benchmarks import charades_sta, longvideobench, lvbench, video_mmmu, videomme, videosiah_eval
from eval_ext.tasks.benchmarks.options import reordered
from eval_ext.tasks.benchmarks.windows import span_of
from eval_ext.tasks.intervals import interval_in

LVBENCH = {
    "video_path": "Cm73ma6Ibcs.mp4", "question": "What year?\n(A) 1636\n(B) 1366\n(C) 1363\n(D) 1633", "answer": "D",
    "question_type": ["entity recognition"], "time_reference": "00:15-00:19", "uid": "0",
}  # fmt: skip


def test_options_of_lvbench_are_in_the_question_or_in_a_column():
    within = lvbench.read(LVBENCH)
    beside = lvbench.read({**LVBENCH, "question": "What year?", "options": ["1636", "1366", "1363", "1633"]})
    assert within.options == beside.options == ["1636", "1366", "1363", "1633"]
    assert within.question == beside.question == "What year?"
    assert within.segment == (15.0, 19.0)
    assert lvbench.shuffle(LVBENCH, [3, 0, 1, 2])["question"] == "What year?\n(A) 1633\n(B) 1636\n(C) 1366\n(D) 1363"
    assert lvbench.shuffle(LVBENCH, [3, 0, 1, 2])["answer"] == "A"


def test_columns_that_a_copy_of_lvbench_may_lack():
    bare = lvbench.read({name: LVBENCH[name] for name in ("video_path", "question", "answer")})
    assert (bare.id, bare.segment, bare.categories) == (None, None, ())


def test_options_of_longvideobench_end_at_the_first_that_is_none():
    doc = {
        "id": "a_0", "video_path": "a.mp4", "question": "?", "option0": "x", "option1": "y", "option2": "z",
        "option3": "N/A", "option4": "N/A", "correct_choice": 2, "duration_group": 600, "question_category": "T2A",
    }  # fmt: skip
    question = longvideobench.read(doc)
    assert (question.options, question.answer) == (["x", "y", "z"], "C")
    moved = longvideobench.shuffle(doc, [2, 1, 0])
    assert (moved["option0"], moved["correct_choice"], moved["option3"]) == ("z", 0, "N/A")


def test_a_question_of_videommmu_without_options_is_open():
    doc = {"id": "validation_Music_1", "question": "?", "options": [], "answer": 7, "question_type": "open"}
    question = video_mmmu.read(doc)
    assert (question.kind, question.options, question.answer) == ("open", None, "7")


@pytest.mark.parametrize("stamp", [[6.9, 0.5], "[0.5, 6.9]"])
def test_charades_stamps_are_numbers_or_text_and_may_be_backwards(stamp):
    question = charades_sta.read({"video": "v.mp4", "caption": "c", "timestamp": stamp})
    assert (question.answer, question.segment) == ("[0.5, 6.9]", (0.5, 6.9))


def test_an_event_without_length_has_no_window():
    assert charades_sta.read({"video": "v.mp4", "caption": "c", "timestamp": [3, 3]}).segment is None


def test_videosiah_says_where_the_evidence_is_only_in_copies_that_do():
    doc = {"video_path": "v.mp4", "question": "?", "answer": "red"}
    assert videosiah_eval.read(doc).segment is None
    assert videosiah_eval.read({**doc, "video_segment": [3, 9]}).segment == (3.0, 9.0)


def test_categories_of_videomme():
    doc = {
        "question": "?", "answer": "C", "videoID": "v", "question_id": "1-1", "options": ["A. x", "B. y", "C. z"],
        "duration": "long", "domain": "Knowledge", "task_type": "OCR Problems",
    }  # fmt: skip
    assert videomme.read(doc).categories == ("long", "Knowledge", "OCR Problems")
    assert videomme.shuffle(doc, [2, 1, 0])["options"] == ["A. z", "B. y", "C. x"]


@pytest.mark.parametrize(
    ("options", "answer", "order"), [(["x", "y"], "C", [1, 0]), (["x", "y"], "red", [1, 0]), (["x"], "A", [0, 1])]
)
def test_an_answer_that_is_no_letter_of_an_option_cannot_be_moved(options, answer, order):
    with pytest.raises(ValueError, match=r"do not fit|not found"):
        reordered(options, answer, order)


@pytest.mark.parametrize("value", [None, "", "soon", [1], [2, 1], [1, float("nan")], "1-2-3", {"start": 1}, " " * 200])
def test_what_is_no_span_is_none(value):
    assert span_of(value) is None


@pytest.mark.parametrize(
    ("answer", "interval"),
    [
        ("The event happens in the 24.3 - 30.4 seconds.", "[24.3, 30.4]"),
        ("from 3s to 9.5 s", "[3, 9.5]"),
        ("It starts at 3 seconds and ends at 9 seconds.", "[3, 9]"),
        ("Between 1:05 and 1:10.", "[65, 70]"),
        ("00:00:05 - 00:00:09", "[5, 9]"),
        ("[3, 9] seconds, that is [3, 9]", "[3, 9]"),
        ("at 7 seconds", None),
        ("1 - 2 or 5 - 6", None),
        ("no idea", None),
        ("1 - 2" + " " * 2000, None),
    ],
)
def test_the_one_interval_of_a_sentence_is_read(answer, interval):
    assert interval_in(answer) == interval
