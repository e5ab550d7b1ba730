"""Rubrics: those that come with the project, a user's own, and how faulty ones are told."""

import re

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.judges.rubric import load_rubric, rubric_names


def test_two_rubrics_come_with_the_project():
    assert rubric_names() == ["binary", "graded"]
    assert load_rubric("graded").scores == {"correct": 1.0, "partly": 0.5, "wrong": 0.0}  # training
    assert load_rubric("binary").scores == {"correct": 1.0, "wrong": 0.0}  # evaluation
    for name in rubric_names():
        rubric = load_rubric(name)
        assert all(f"{score:g} ({word})" in rubric.criteria for word, score in rubric.scores.items())


def test_a_verdict_word_follows_from_the_score():
    graded = load_rubric("graded")
    assert [graded.verdict(score) for score in graded.scale] == ["correct", "partly", "wrong"]


def test_a_users_rubric_is_a_yaml_file(tmp_path):
    path = tmp_path / "strict.yaml"
    path.write_text("scores: {full: 0.8, none: 0}\ncriteria: |\n  0.8 (full): all of it.\n")
    rubric = load_rubric(path)
    assert (rubric.name, rubric.scale, rubric.criteria) == ("strict", (0.8, 0.0), "0.8 (full): all of it.\n")


def test_a_users_rubric_may_be_a_whole_prompt(tmp_path):
    path = tmp_path / "published.jinja"
    path.write_text(
        "{# scores: {right: 1, wrong: 0} #}\nQ: {{ question }}\nR: {{ reference }}\nA: {{ answer }}\nJudgement:"
    )
    rubric = load_rubric(str(path))
    assert rubric.scores == {"right": 1.0, "wrong": 0.0}
    filled = rubric.render(question="<q>", reference="{{ answer }}", answer="<a>", options="")
    assert filled == "Q: <q>\nR: {{ answer }}\nA: <a>\nJudgement:"


def test_the_hash_names_exactly_one_rubric(tmp_path):
    texts = [
        "scores: {a: 1, b: 0}\ncriteria: x",
        "scores: {a: 1, b: 0}\ncriteria: y",
        "scores: {a: 1, b: 0.5}\ncriteria: x",
        "scores: {a: 1, b: 0}\nprompt: '{{ answer }} {{ reference }}'",
    ]
    hashes = []
    for text in texts:
        (tmp_path / "own.yaml").write_text(text)
        hashes.append(load_rubric(tmp_path / "own.yaml").hash)
    assert len(set(hashes)) == len(texts)
    (tmp_path / "own.yaml").write_text("# a comment\n" + texts[0])
    assert load_rubric(tmp_path / "own.yaml").hash == hashes[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "scores: [1", "a.yaml: while parsing a flow sequence"),
        ("a.yaml", "just text", "the file: Input should be a valid dictionary"),
        ("a.yaml", "criteria: x", "scores: Field required"),
        ("a.yaml", "scores: {a: 1}\ncriteria: x", "scores: Dictionary should have at least 2 items"),
        ("a.yaml", "scores: {a: 1, b: 2}\ncriteria: x", "scores.b: Input should be less than or equal to 1"),
        ("a.yaml", "scores: {a: 1, b: .nan}\ncriteria: x", "scores.b: Input should be a finite number"),
        ("a.yaml", "scores: {a: 1, b: 1}\ncriteria: x", "all scores are worth the same"),
        ("a.yaml", "scores: {a: 1, b: 0}", "give either criteria or prompt"),
        ("a.yaml", "scores: {a: 1, b: 0}\ncriteria: x\nprompt: y", "give either criteria or prompt"),
        ("a.yaml", "scores: {a: 1, b: 0}\ncriteria: x\nmodel: y", "model: Extra inputs are not permitted"),
        ("a.yaml", "scores: {a: 1, b: 0}\nprompt: '{{ answer }}'", "the template must show reference"),
        ("a.yaml", "scores: {a: 1, b: 0}\nprompt: '{{ anwser }}'", "the template names anwser; there are question"),
        ("a.yaml", "scores: {a: 1, b: 0}\nprompt: '{{ answer '", "unexpected end of template"),
        ("a.jinja", "{{ answer }}", "begin the template with a comment such as {# scores:"),
        ("a.jinja", "{# nothing #}{{ answer }}", "begin the template with a comment such as {# scores:"),
        ("a.yaml", "x" * 200_000, "larger than 100000 bytes"),
        ("a.yaml", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_faulty_file_is_told_in_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        load_rubric(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_an_unknown_rubric_is_told_which_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no rubric 'gradde'; there are binary, graded, or give a .yaml or .jinja file"
    ):
        load_rubric("gradde")
    with pytest.raises(ConfigError, match=r"rubric .*missing.yaml: No such file"):
        load_rubric(tmp_path / "missing.yaml")


def test_a_template_that_cannot_be_filled_is_told(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("scores: {a: 1, b: 0}\nprompt: '{{ answer.missing.deeper }} {{ reference }}'")
    with pytest.raises(ConfigError, match="rubric own: "):
        load_rubric(path).render(question="", reference="", answer="", options="")
