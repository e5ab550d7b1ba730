"""The labels that come with the project, and what is counted of a judge's verdicts on them."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges import JudgeConfig, Judgement
from longvt_plugins.judges.calibration import Agreement, calibrate, read_labels
from longvt_plugins.judges.exact import exact_judge


@pytest.fixture(scope="module")
def labels():
    return read_labels()


def judge_of(scores, scale=None):
    """A judge that scores answers by a table."""

    async def judge(question, reference, prediction, *, options=None, kind=None):
        return Judgement(scores[prediction], "", "because", fingerprint="table/1", cost=0.5, cached=False, seconds=2.0)

    if scale is not None:
        judge.scale = scale
    return judge


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(answer, label, **more):
    return {"question": "q", "reference": "r", "answer": answer, "label": label, **more}


def test_the_set_covers_what_judges_get_wrong(labels):
    assert len(labels) >= 200
    categories = Counter(label.category for label in labels)
    wanted = {"paraphrase", "units", "partial", "contradiction", "injection", "options", "languages", "wording"}
    assert set(categories) == wanted
    assert min(categories.values()) >= 20
    assert len({label.language for label in labels}) >= 10
    assert {label.label for label in labels} == {1.0, 0.5, 0.0}


def test_no_label_contradicts_another(labels):
    texts = [(label.question, label.reference, label.answer) for label in labels]
    assert len(set(texts)) == len(texts)
    assert len({label.id for label in labels}) == len(labels)
    for label in labels:
        if label.answer == label.reference:
            assert label.label == 1.0, label
        if label.kind == "choice":
            assert label.options, label
    for question in {label.question for label in labels if label.category != "injection"}:
        given = {label.label for label in labels if label.question == question}
        assert len(given) > 1, f"always answering alike would agree on {question!r}"


def test_the_exact_judge_never_calls_a_wrong_answer_right(labels):
    report = asyncio.run(calibrate(exact_judge(JudgeConfig()), labels))
    assert report.total.too_kind == 0
    assert report.total.missing == 0
    assert report.by_category["options"].agreement > 0.8
    assert report.by_category["units"].agreement > 0.8
    assert 0.6 < report.total.agreement < 0.8, "synonyms are beyond it"


def test_the_figures_in_the_docs_are_those_of_today(labels):
    text = (Path(__file__).resolve().parents[3] / "docs" / "judges.md").read_text()
    report = asyncio.run(calibrate(exact_judge(JudgeConfig()), labels))
    for name, part in [*report.by_category.items(), ("all", report.total)]:
        cells = map(str, (part.rows, f"{part.agreement:.3f}", part.too_kind, part.too_hard, part.missing))
        assert re.search(rf"^  {name} +{' +'.join(map(re.escape, cells))}$", text, re.M), name
    assert f"judge {report.fingerprint}, labels {report.labels_hash}" in text
    assert f"about {len(labels)} answers" in text


def test_what_agrees_is_counted_by_class(tmp_path):
    path = write(tmp_path / "l.jsonl", row("a", 1), row("b", 0.5), row("c", 0), row("d", 0), row("e", 1), row("f", 0.5))
    scores = {"a": 1.0, "b": 0.5, "c": 0.5, "d": None, "e": 0.0, "f": 1.0}
    report = asyncio.run(calibrate(judge_of(scores, (1.0, 0.5, 0.0)), read_labels(path)))
    assert report.total.record() == {"rows": 6, "missing": 1, "agreement": 2 / 5, "too_kind": 2, "too_hard": 1}
    assert report.record()["confusion"]["wrong"] == {"correct": 0, "partly": 1, "wrong": 0, "none": 1}
    assert [label.answer for label, _ in report.disagreements()] == ["c", "d", "e", "f"]
    assert (report.cost, report.record()["mean_latency"]) == (3.0, 2.0)
    assert report.record()["missing_reasons"] == {"because": 1}


def test_a_judge_that_knows_only_right_and_wrong_is_held_to_right_alone(tmp_path):
    path = write(tmp_path / "l.jsonl", row("a", 1), row("b", 0.5), row("c", 0.5))
    report = asyncio.run(calibrate(judge_of({"a": 1.0, "b": 0.0, "c": 1.0}), read_labels(path)))
    assert report.scale == (1.0, 0.0)
    assert (report.total.agreed, report.total.too_kind) == (2, 1)


def test_categories_and_languages_are_told_apart(tmp_path):
    path = write(tmp_path / "l.jsonl", row("a", 1, category="x", language="de"), row("b", 1, category="y"))
    report = asyncio.run(calibrate(judge_of({"a": 1.0, "b": 0.0}), read_labels(path)))
    assert {name: part.agreement for name, part in report.by_category.items()} == {"x": 1.0, "y": 0.0}
    assert set(report.by_language) == {"de", "-"}


def test_the_interval_is_wilsons():
    agreement = Agreement(Counter({("correct", "correct"): 8, ("correct", "wrong"): 2}))
    low, high = agreement.interval()
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Agreement().interval() is None
    assert Agreement().agreement is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: line: Input should be"),
        ('{"question": "q", "reference": "r", "answer": "a"}', "line 1: label: Field required"),
        (
            '{"question": "q", "reference": "r", "answer": "a", "label": 2}',
            "line 1: label must be from 0 to 1, not 2.0",
        ),
        ('\n{"question": "q", "reference": "r", "answer": "a", "label": "x"}', "line 2: label: Input should be"),
        (2 * '{"id": "i", "question": "q", "reference": "r", "answer": "a", "label": 1}\n', "line 2: id 'i' is there"),
    ],
)
def test_a_faulty_file_is_told_by_its_line(tmp_path, text, message):
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_labels(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_labels(tmp_path / "missing.jsonl")
