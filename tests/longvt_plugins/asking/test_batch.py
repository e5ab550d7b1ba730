"""Many questions: a folder of videos, a JSONL; stopped and taken up again."""

import json
import shutil

import pytest

from longvt_plugins.rollouts import read_rollouts
from longvt_plugins.testing_server import asked_text, assistant, failure

ANSWER = assistant("<think>It is red.</think><answer>red</answer>")
SMALL = ("--model", "scripted", "--max-frames", "2", "--max-pixels", "7056")


@pytest.fixture
def questions(tmp_path, video):
    shutil.copy(video, tmp_path / "film.mp4")
    lines = [
        {"id": "a", "video": "film.mp4", "question": "First?"},
        {"id": "b", "video": ["film.mp4", str(video)], "question": "Second?", "options": ["x", "y"]},
        {"id": "c", "videos": {"video_1.mp4": "film.mp4"}, "question": "Third?", "answer": "crimson"},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    return path


def answers(folder):
    records = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    return {record["id"]: record["answer"] for record in records}


def test_a_file_of_questions_is_answered_and_its_answers_are_never_shown(longvt, serve, questions, tmp_path):
    server = serve(lambda request: ANSWER)
    out = tmp_path / "out"
    code, told, _ = longvt(
        questions, "--base-url", server.base_url, *SMALL, "--out", out, "--html", tmp_path / "p.html"
    )
    assert code == 0
    assert told == f"{out / 'answers.jsonl'}: 3 asked, 3 answered\n"
    assert answers(out) == {"a": "red", "b": "red", "c": "red"}
    assert "crimson" not in "".join(map(asked_text, server.requests))
    assert {rollout.row_id for rollout in read_rollouts(out / "rollouts")} == {"a", "b", "c"}
    assert json.loads((out / "settings.json").read_text())["model"] == "scripted"
    assert "Second?" in (tmp_path / "p.html").read_text()


def test_what_failed_is_asked_again_and_nothing_else(longvt, serve, questions, tmp_path):
    def script(request):
        return failure(400, "not now") if "Second?" in asked_text(request) else ANSWER

    out = tmp_path / "out"
    code, told, err = longvt(questions, "--base-url", serve(script).base_url, *SMALL, "--out", out)
    assert code == 1
    assert "2 answered, 1 failed" in told
    assert "b: not answered: " in err
    # A line that was being written when the power went.
    with (out / "answers.jsonl").open("a") as file:
        file.write('{"id": "a", "answ')
    server = serve(lambda request: assistant("<think>.</think><answer>blue</answer>"))
    # The address is no setting that may not change: the server came back elsewhere.
    code, told, _ = longvt(questions, "--base-url", server.base_url, *SMALL, "--out", out)
    assert code == 0
    assert "3 answered, 2 kept" in told
    assert len(server.requests) == 1
    assert answers(out) == {"a": "red", "b": "blue", "c": "red"}


def test_a_folder_with_answers_of_other_settings_is_refused(longvt, serve, questions, tmp_path):
    server = serve(lambda request: ANSWER)
    out = tmp_path / "out"
    longvt(questions, "--base-url", server.base_url, *SMALL, "--out", out)
    code, _, err = longvt(questions, "--base-url", server.base_url, *SMALL, "--out", out, "--max-calls", "2")
    assert code == 2
    assert "answers of other settings (max_calls)" in err


def test_each_video_of_a_folder_is_asked_about(longvt, serve, video, tmp_path):
    for name in ("b.mp4", "a.MP4", "deeper/c.mkv"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, tmp_path / "films" / name)
    (tmp_path / "films" / "notes.txt").write_text("not a film")
    server = serve(lambda request: ANSWER)
    code, told, _ = longvt(
        tmp_path / "films", "Rain?", "--base-url", server.base_url, *SMALL, "--out", tmp_path / "out", "--json"
    )
    assert code == 0
    assert json.loads(told)["answered"] == 3
    assert sorted(answers(tmp_path / "out")) == ["a.MP4", "b.mp4", "deeper/c.mkv"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1: the line is not JSON"),
        ("[1]", "must be a JSON object, not list"),
        ('{"video": "a.mp4"}', "no question"),
        ('{"question": "Q?"}', "'video' must name a file"),
        ('{"question": "Q?", "video": {"a": 3}}', "'video' must name a file"),
        ('{"question": "Q?", "video": "https://x.org/a.mp4"}', "download it first"),
        ('{"question": "Q?", "video": "a.mp4", "options": 3}', "options must be a list"),
        ("", "holds no questions"),
    ],
)
def test_a_faulty_line_is_named(longvt, tmp_path, line, complaint):
    path = tmp_path / "questions.jsonl"
    path.write_text(line)
    code, _, err = longvt(path, "--model", "tiny", "--out", tmp_path / "out")
    assert code == 2
    assert complaint in err
    assert not (tmp_path / "out").exists()


def test_many_questions_want_a_folder(longvt, questions):
    code, _, err = longvt(questions, "--model", "tiny")
    assert code == 2
    assert "give --out" in err
