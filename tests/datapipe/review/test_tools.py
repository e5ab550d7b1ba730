"""Decisions, and the way to annotation tools and back."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from datapipe import Dropped, Failed, Kept, QAPair, Trace
from datapipe.review.cvat import LABEL, write_cvat
from datapipe.review.decisions import Decision, read_decisions, write_decisions
from datapipe.review.entries import Entry
from datapipe.review.label_studio import LABELING, read_annotations, write_tasks
from datapipe.steps.apply_review import ApplyReview
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing import write_stamped_video

ENTRY = Entry(
    id="talk-1.qapair-1", video="talk-1", path="/videos/talk.mp4", duration=20.0, start=4.0, end=8.0,
    question="Which colour is the car?", answer="red", captions=((2.0, 9.0, "A red car leaves."),),
)  # fmt: skip

PAIR = QAPair(
    id="talk-1.qapair-1", video="talk-1", path="/videos/talk.mp4", duration=20.0, start=4.0, end=8.0,
    question="Which colour is the car?", answer="red",
)  # fmt: skip


def decided(tmp_path, *decisions, **settings):
    path = tmp_path / "decisions.jsonl"
    write_decisions(decisions, path)
    return ApplyReview(decisions=path, **settings)


def test_of_two_decisions_about_one_record_the_later_counts(tmp_path):
    step = decided(tmp_path, Decision(PAIR.id, "reject"), Decision(PAIR.id, "accept", note="after all", reviewer="Ada"))
    (outcome,) = step([PAIR])
    assert isinstance(outcome, Kept)
    assert outcome.record.verdicts[-1].reason == "Ada: after all"


def test_an_edited_question_is_a_record_of_its_own_place(tmp_path):
    (outcome,) = decided(tmp_path, Decision(PAIR.id, "edit", question="Which colour has it?", end=7.0))([PAIR])
    edited = outcome.record
    assert (edited.question, edited.answer, edited.start, edited.end) == ("Which colour has it?", "red", 4.0, 7.0)
    assert edited.id != PAIR.id
    assert edited.id.startswith("talk-1.qapair-")


def test_what_nobody_decided_on_is_kept_or_dropped_as_the_step_is_told(tmp_path):
    assert list(decided(tmp_path)([PAIR])) == [Kept(PAIR)]
    assert list(decided(tmp_path, undecided="drop")([PAIR])) == [Dropped("not reviewed")]


def test_a_decision_about_another_text_is_a_failure(tmp_path):
    step = decided(tmp_path, Decision(PAIR.id, "accept", seen_answer="blue"))
    (outcome,) = step([PAIR])
    assert isinstance(outcome, Failed)
    assert "has another answer by now" in outcome.error


def test_windows_that_make_no_sense_and_edited_traces_are_failures(tmp_path):
    (outcome,) = decided(tmp_path, Decision(PAIR.id, "edit", end=99.0))([PAIR])
    assert "the window must satisfy 0 <= start < end <= 20" in outcome.error
    trace = Trace.of(PAIR, start=4.0, end=8.0, qa=PAIR.id, question=PAIR.question, reference_answer="red")
    (outcome,) = decided(tmp_path, Decision(trace.id, "edit", answer="blue"))([trace])
    assert "is accepted or rejected, never edited" in outcome.error
    (outcome,) = decided(tmp_path, Decision(trace.id, "reject"))([trace])
    assert outcome.reason == "rejected in review"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1 is not JSON"),
        ('{"id": "a"}', "line 1: decision: field required"),
        ('{"id": "a", "decision": "perhaps"}', "line 1: decision: input should be 'accept', 'reject' or 'edit'"),
        ('{"id": "a", "decision": "accept", "stars": 5}', "line 1: stars: there is no such field"),
    ],
)
def test_a_faulty_file_is_told_before_anything_is_run(tmp_path, line, complaint):
    (tmp_path / "decisions.jsonl").write_text(line)
    with pytest.raises(ConfigError, match=complaint):
        ApplyReview(decisions=tmp_path / "decisions.jsonl")
    with pytest.raises(ConfigError, match="cannot be read"):
        ApplyReview(decisions=tmp_path / "gone.jsonl")


def annotated(task, choice, **changes):
    """A task as Label Studio exports it."""
    result = [{"from_name": "decision", "to_name": "video", "type": "choices", "value": {"choices": [choice]}}]
    for name, value in changes.items():
        told = {"number": value} if isinstance(value, float) else {"text": [value]}
        result.append({"from_name": name, "to_name": "video", "type": "x", "value": told})
    return {**task, "annotations": [{"completed_by": {"email": "ada@x.org"}, "was_cancelled": False, "result": result}]}


def test_label_studio_and_back(tmp_path):
    entries = [ENTRY, replace(ENTRY, id="talk-1.qapair-2"), replace(ENTRY, id="talk-1.qapair-3")]
    write_tasks(entries, tmp_path / "tasks.json", url=lambda path: f"/data/local-files/?d={path[1:]}")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[0]["data"]["video"] == "/data/local-files/?d=videos/talk.mp4"
    names = {result["from_name"] for result in tasks[0]["predictions"][0]["result"]}
    controls = {node.get("name") for node in ElementTree.fromstring(LABELING).iter() if node.get("toName")}
    assert names == {"question", "answer", "start", "end"}
    assert names < controls, "the labelling interface has a control for each prediction"
    given = {
        node.get("value", "")[1:]
        for node in ElementTree.fromstring(LABELING).iter()
        if node.get("value", "")[:1] == "$"
    }
    assert given <= set(tasks[0]["data"]), "and the task the data that it shows"
    exported = [
        annotated(tasks[0], "accept", question=ENTRY.question, answer="dark red", start=4.0, end=8.0),
        annotated(tasks[1], "reject", note="dull"),
        {**tasks[2], "annotations": []},
    ]
    (tmp_path / "export.json").write_text(json.dumps(exported))
    assert read_annotations(tmp_path / "export.json") == [
        Decision(ENTRY.id, "edit", answer="dark red", reviewer="ada@x.org", seen_answer="red"),
        Decision("talk-1.qapair-2", "reject", note="dull", reviewer="ada@x.org", seen_answer="red"),
    ]


@pytest.mark.parametrize(
    ("exported", "complaint"),
    [
        ("{}", "must be a list of tasks"),
        ("[{}]", "task 1 has no data.id"),
        ('[{"data": {"id": "a"}, "annotations": [{"result": []}]}]', "task 1 .a.: its annotation neither accepts nor"),
        ("no", "is not JSON"),
    ],
)
def test_what_label_studio_did_not_write_is_refused(tmp_path, exported, complaint):
    (tmp_path / "export.json").write_text(exported)
    with pytest.raises(ConfigError, match=complaint):
        read_annotations(tmp_path / "export.json")


def test_cvat_gets_the_windows_as_tracks_of_frames(tmp_path):
    film = tmp_path / "talk.mp4"
    write_stamped_video(film, 20, fps=4)
    hostile = replace(ENTRY, path=str(film), question='Is "a" < b & c?\x00')
    write_cvat([hostile, replace(ENTRY, path=str(film), start=12.0, end=20.0)], tmp_path / "talk.xml")
    root = ElementTree.parse(tmp_path / "talk.xml").getroot()
    first, last = root.findall("track")
    frames = [(box.get("frame"), box.get("outside")) for box in first.findall("box")]
    assert frames == [("16", "0"), ("32", "1")]
    assert [box.get("frame") for box in last.findall("box")] == ["48", "80"]
    told = {node.get("name"): node.text or "" for node in first.find("box").findall("attribute")}
    assert (told["question"], told["answer"], told["decision"]) == ('Is "a" < b & c?', "red", "undecided")
    assert set(told) == {attribute["name"] for attribute in LABEL[0]["attributes"]}


def test_decisions_are_read_as_they_are_written(tmp_path):
    decision = Decision("a", "edit", question="Wer wartet – und wo?", start=0.0, reviewer="Zoë")
    assert write_decisions([decision], tmp_path / "d.jsonl") == 1
    assert read_decisions(tmp_path / "d.jsonl") == {"a": decision}
