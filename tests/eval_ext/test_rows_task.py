"""Our tasks inside lmms-eval, with models that are not ours."""

import json

import pytest
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages

from eval_ext.tasks.questions_task import doc_to_messages
from eval_ext.tasks.rows_task import RowsTask, doc_to_text
from longvt_plugins.errors import ConfigError
from longvt_plugins.rows import read_rows, write_rows

CONFIG = {"task": "t", "class": RowsTask, "metadata": {"longvt_form": "tool"}}


class Parrot(lmms):
    """Another plugin's chat model: says what it is told to, in order, and keeps what it was shown."""

    is_simple = False

    def __init__(self, texts):
        super().__init__()
        self.texts = texts
        self.shown = []

    def generate_until(self, requests):
        for request in requests:
            doc = self.task_dict[request.task_name][request.metadata["split"]][request.doc_id]
            self.shown.append(ChatMessages(messages=request.args[1](doc)))
        return self.texts[: len(requests)]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def generate_until_multi_round(self, requests):
        raise NotImplementedError


def test_any_chat_model_may_answer_our_tasks(use_data, evaluate):
    tagged = [f"<think>x</think><answer>{answer}</answer>" for answer in ("red", "blue", "blue", "blue")]
    model = Parrot(tagged)
    results = evaluate(model, ["longvt_synthetic_tool"])
    numbers = results["results"]["longvt_synthetic_tool"]
    assert numbers["accuracy,none"] == 0.5
    assert numbers["accuracy/test/even,none"] == 0.5
    assert (numbers["format,none"], numbers["iou,none"], numbers["calls,none"]) == (1.0, 0.0, 0.0)
    _, videos, _ = model.shown[0].extract_media()
    assert videos == [str(use_data / "videos" / "v.mp4")]
    assert "Question 0: which colour?" in str(model.shown[0])


def test_a_model_that_says_nothing_was_not_asked(use_data, evaluate):
    numbers = evaluate(Parrot(["red", "", "", "blue"]), ["longvt_synthetic_non_think"])["results"]
    numbers = numbers["longvt_synthetic_non_think"]
    assert (numbers["accuracy,none"], numbers["scored,none"], numbers["failed,none"]) == (0.5, 2, 2)
    assert numbers["accuracy/test/even,none"] == 1.0


def test_a_run_without_any_score_has_numbers_that_say_so(use_data, evaluate):
    numbers = evaluate(Parrot([""] * 4), ["longvt_synthetic_tool"])["results"]["longvt_synthetic_tool"]
    assert (numbers["accuracy,none"], numbers["accuracy_ci_low,none"]) == (None, None)
    assert (numbers["scored,none"], numbers["failed,none"]) == (0, 4)


def test_outputs_may_be_taken_without_scores(use_data, evaluate):
    results = evaluate(Parrot(["red"] * 4), ["longvt_synthetic_tool"], predict_only=True)
    assert len(results["samples"]["longvt_synthetic_tool"]) == 4


def test_neither_the_answer_nor_the_window_is_in_what_a_model_is_shown(use_data):
    docs = RowsTask(config=CONFIG).dataset["test"]
    shown = json.dumps([doc_to_messages({**doc, "answer": "SECRET"}, form="tool", text=doc_to_text) for doc in docs])
    assert "SECRET" not in shown
    assert "8.0" not in shown
    assert "12.0" not in shown


def test_options_are_part_of_the_question(use_data):
    doc = {**RowsTask(config=CONFIG).dataset["test"][0], "options": ["red", "blue"]}
    assert "Choose one of: red; blue." in str(doc_to_messages(doc, form="non_think", text=doc_to_text))


def test_the_data_may_be_a_file(data, monkeypatch, tmp_path):
    write_rows(read_rows(data / "test.parquet")[:3], tmp_path / "some.jsonl")
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "some.jsonl"))
    assert RowsTask(config=CONFIG).dataset["test"]["id"] == ["q0", "q1", "q2"]


def test_other_data_has_another_fingerprint(data, monkeypatch, tmp_path):
    def fingerprint(rows):
        write_rows(rows, tmp_path / "rows.jsonl")
        monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "rows.jsonl"))
        return RowsTask(config=CONFIG).config.metadata["longvt_data_fingerprint"]

    rows = read_rows(data / "test.parquet")
    video = tmp_path / "other.mp4"
    video.write_bytes(b"another film")
    assert fingerprint(rows) == fingerprint(rows)
    assert fingerprint(rows) != fingerprint([{**rows[0], "answer": "pink"}, *rows[1:]])
    assert fingerprint(rows) != fingerprint([{**rows[0], "videos": {"video_1.mp4": str(video)}}, *rows[1:]])


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (None, "set LONGVT_DATA to a rows file"),
        ("", "set LONGVT_DATA to a rows file"),
        ("nowhere", "no rows file nowhere"),
        (".", r"no rows file test\.parquet"),
    ],
)
def test_missing_data_is_told_in_one_line(named, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LONGVT_DATA", raising=False)
    if named is not None:
        monkeypatch.setenv("LONGVT_DATA", named)
    with pytest.raises(ConfigError, match=told) as caught:
        RowsTask(config=CONFIG)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / "rows.jsonl").touch()
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigError, match="no rows in it"):
        RowsTask(config=CONFIG)


def test_rows_without_windows_have_no_oracle(data, monkeypatch, tmp_path):
    rows = read_rows(data / "test.parquet")
    write_rows([{**rows[0], "video_segment": None}], tmp_path / "rows.jsonl")
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "rows.jsonl"))
    RowsTask(config=CONFIG)
    with pytest.raises(ConfigError, match="no video_segment"):
        RowsTask(config={**CONFIG, "metadata": {"longvt_form": "tool", "longvt_oracle": True}})


@pytest.mark.parametrize("metadata", [{}, {"longvt_form": "tools"}, None])
def test_a_task_must_name_its_form(use_data, metadata):
    with pytest.raises(ConfigError, match="longvt_form must be one of tool, reasoning, non_think"):
        RowsTask(config={**CONFIG, "metadata": metadata})


def test_a_fault_in_the_data_ends_the_run_with_its_own_reason(data, evaluate, monkeypatch, tmp_path):
    rows = read_rows(data / "test.parquet")
    write_rows([{**rows[0], "kind": "grounding", "answer": "soon"}], tmp_path / "rows.jsonl")
    monkeypatch.setenv("LONGVT_DATA", str(tmp_path / "rows.jsonl"))
    with pytest.raises(ConfigError, match="must be an interval"):
        evaluate(Parrot(["red"]), ["longvt_synthetic_non_think"])
