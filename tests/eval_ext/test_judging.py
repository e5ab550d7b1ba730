"""A judge beside the exact one: who it is, what it says, and what becomes of a run when it is down."""

import json

import pytest

from eval_ext.tasks.judging import CONCURRENCY, GIVE_UP_AFTER, Judging, read_judge_config
from longvt_plugins.errors import ConfigError, UnknownNameError
from longvt_plugins.judges import JudgeConfig
from longvt_plugins.testing_server import ScriptedChatServer, asked_text, assistant, failure

SMALL = "model=scripted,max_retries=0,overview_max_frames=4,crop_max_frames=3,min_pixels=784,max_pixels=784"


def verdict(request):
    score = "1" if "crimson" in asked_text(request) else "0"
    return assistant(json.dumps({"reason": "the colours were compared", "score": score}))


def judge_variable(server, name="cascade", **options):
    asked = {"base_url": server.base_url, "model": "judge", "rubric": "binary", "max_retries": 0, **options}
    return json.dumps({"judge": name, "judge_options": asked})


def test_judged_and_strict_accuracy_stand_side_by_side_and_share_the_answers(
    use_data, evaluate, looks_and_says, monkeypatch, tmp_path
):
    task = "longvt_synthetic_tool"
    with (
        ScriptedChatServer(looks_and_says(["crimson", "blue", "green", "blue"])) as server,
        ScriptedChatServer(verdict) as judge,
    ):
        arguments, cached = f"base_url={server.base_url},{SMALL}", {"use_cache": str(tmp_path / "cache")}
        strict = evaluate("longvt", [task], arguments, **cached)["results"][task]
        monkeypatch.setenv("LONGVT_JUDGE", judge_variable(judge))
        both = evaluate("longvt", [task], arguments, **cached)
        judge.stop()
        monkeypatch.setenv("LONGVT_JUDGE", judge_variable(judge, "llm"))
        down = evaluate("longvt", [task], arguments, **cached)["results"][task]
    assert len(server.requests) == 4 * 2  # other judges need no other answers
    assert strict["accuracy,none"] == 0.5
    assert not [name for name, value in strict.items() if isinstance(value, list)]
    assert "judged_accuracy,none" not in strict
    numbers = both["results"][task]
    assert (numbers["accuracy,none"], numbers["judged_accuracy,none"], numbers["no_verdict,none"]) == (0.5, 0.75, 0)
    assert (numbers["judged_accuracy/test/even,none"], numbers["judged_accuracy/test/odd,none"]) == (1.0, 0.5)
    assert numbers["judge,none"].startswith("cascade/1 exact/")
    assert "model:judge rubric:binary" in numbers["judge,none"]
    assert len(judge.requests) == 2  # spelling decides the other two
    samples = both["samples"][task]
    assert [sample["judged_accuracy"] for sample in samples] == [1.0, 1.0, 1.0, 0.0]
    assert (down["accuracy,none"], down["judged_accuracy,none"], down["no_verdict,none"]) == (0.5, None, 4)
    assert down["judge,none"].startswith("llm/1 model:judge")


def test_a_judge_that_stays_down_is_not_asked_for_ever():
    row = {"question": "?", "answer": "red", "options": None, "kind": "open"}
    with ScriptedChatServer(lambda request: failure(503)) as server:
        options = {"base_url": server.base_url, "model": "judge", "max_retries": 0, "concurrency": 8}
        judgements = Judging(JudgeConfig("llm", options)).judge_all([(row, f"colour {n}") for n in range(300)])
    assert len(server.requests) < GIVE_UP_AFTER + 2 * CONCURRENCY
    assert [judgement.score for judgement in judgements] == [None] * 300
    assert "not asked: the judge had no verdict 16 times: " in judgements[-1].reason
    assert "HTTP 503" in judgements[-1].reason


@pytest.mark.parametrize(
    ("value", "name", "options"),
    [
        ("", "exact", {}),
        ("cascade", "cascade", {"base_url": "http://gpu1/v1", "model": "judge"}),
        ("{judge: exact, judge_options: {maths: true}}", "exact", {"maths": True}),
        ("{judge: llm, judge_options: {model: m}}", "llm", {"base_url": "http://gpu1/v1", "model": "m"}),
    ],
)
def test_the_judge_is_named_by_a_variable_and_its_server_by_the_usual_ones(value, name, options):
    environ = {"LONGVT_JUDGE": value, "LLM_AS_A_JUDGE_BASE": "http://gpu1/v1"}
    assert read_judge_config(environ) == JudgeConfig(name, options)


def test_a_task_may_have_a_judge_of_its_own_which_the_variable_replaces():
    assert read_judge_config({}, "mine").name == "mine"
    assert read_judge_config({"LONGVT_JUDGE": "exact"}, "mine").name == "exact"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[exact]", "must name a judge"),
        ("{judge: 3}", "must name a judge"),
        ("{judge: llm", "is not YAML"),
        ("{judge: llm, judge_option: {}}", "no key 'judge_option' here. Did you mean 'judge_options'"),
        ("{judge: llm, judge_options: 3}", "judge_options must be a mapping"),
    ],
)
def test_a_variable_that_is_not_understood_is_told_in_one_line(value, told):
    with pytest.raises(ConfigError, match=told) as caught:
        read_judge_config({"LONGVT_JUDGE": value})
    assert "\n" not in str(caught.value)


def test_a_faulty_judge_is_refused_before_anything_is_asked():
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        Judging(JudgeConfig("exakt"))
    with pytest.raises(ConfigError, match="the judge 'llm' needs base_url"):
        Judging(JudgeConfig("llm"))
