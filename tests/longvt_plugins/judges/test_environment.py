"""Which judge the environment names, and to whom a key is sent."""

import doctest

import pytest

from longvt_plugins.judges import environment
from longvt_plugins.judges.environment import judge_options_from_environment as options

OWN = "http://gpu1:1234/v1"
OTHER = "http://gpu2:8000/v1"


@pytest.mark.parametrize(
    ("environ", "given", "found"),
    [
        ({}, {}, {}),
        ({"LLM_AS_A_JUDGE_BASE": OWN}, {}, {"base_url": OWN, "model": "judge"}),
        ({"LLM_AS_A_JUDGE_BASE": OWN, "OPENAI_MODEL_NAME": "qwen"}, {}, {"base_url": OWN, "model": "qwen"}),
        ({"LLM_AS_A_JUDGE_BASE": OWN, "OPENAI_BASE_URL": OTHER}, {}, {"base_url": OWN, "model": "judge"}),
        ({"OPENAI_BASE_URL": OTHER, "OPENAI_MODEL_NAME": "qwen"}, {}, {"base_url": OTHER, "model": "qwen"}),
        ({"OPENAI_BASE_URL": OTHER}, {}, {"base_url": OTHER}),
        ({"OPENAI_BASE_URL": OTHER}, {"base_url": OWN, "model": "m"}, {"base_url": OWN, "model": "m"}),
        ({"LLM_AS_A_JUDGE_BASE": OWN}, {"base_url": OTHER}, {"base_url": OTHER}),
        ({"LLM_AS_A_JUDGE_BASE": "  "}, {}, {}),
    ],
)
def test_the_environment_fills_what_the_user_did_not_say(environ, given, found):
    assert options(environ, "llm", given) == found
    assert options(environ, "cascade", given) == found


@pytest.mark.parametrize(
    ("environ", "given", "key"),
    [
        ({}, {}, "sk"),  # OpenAI itself
        ({"OPENAI_BASE_URL": OTHER}, {}, "sk"),
        ({}, {"base_url": OTHER}, "sk"),
        ({"LLM_AS_A_JUDGE_BASE": OWN}, {}, None),  # the key is not that server's
        ({"LLM_AS_A_JUDGE_BASE": OWN, "OPENAI_BASE_URL": OTHER}, {}, None),
        ({"LLM_AS_A_JUDGE_BASE": OWN}, {"base_url": OTHER}, "sk"),
        ({}, {"api_key": "mine"}, "mine"),
    ],
)
def test_a_key_goes_only_where_it_belongs(environ, given, key):
    assert options({**environ, "OPENAI_API_KEY": "sk"}, "llm", given).get("api_key") == key


def test_a_judge_without_a_server_gets_nothing():
    assert options({"LLM_AS_A_JUDGE_BASE": OWN, "OPENAI_API_KEY": "sk"}, "exact", {"maths": True}) == {"maths": True}


def test_what_the_user_said_is_not_changed():
    given = {"rubric": "binary"}
    options({"LLM_AS_A_JUDGE_BASE": OWN}, "llm", given)
    assert given == {"rubric": "binary"}


def test_nothing_is_read_from_the_real_environment(monkeypatch):
    monkeypatch.setenv("LLM_AS_A_JUDGE_BASE", OWN)
    monkeypatch.setenv("OPENAI_BASE_URL", OTHER)
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    assert options({}, "llm") == {}


def test_the_examples_at_the_top_are_true():
    failed, attempted = doctest.testmod(environment)
    assert (failed, attempted > 0) == (0, True)
