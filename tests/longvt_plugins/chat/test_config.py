"""Settings are checked at once, and the key shows nowhere."""

import json

import pytest

from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.errors import ConfigError

GOOD = {"base_url": "http://localhost:8000/v1", "model": "judge"}
SECRET = "sk-verysecret123"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://host:notaport/v1"}, "base_url"),
        ({"base_url": f"https://user:{SECRET}@host/v1"}, "base_url"),
        ({"base_url": f"https://host/v1?key={SECRET}"}, "base_url"),
        ({"base_url": f"https://host/v1#{SECRET}"}, "base_url"),
        ({"model": ""}, "model"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": f"{SECRET}\nx-more: 1"}, "api_key"),
        ({"api_key": f"{SECRET}é"}, "api_key"),
        ({"image_format": "gif"}, "image_format"),
        ({"tool_images": "system"}, "tool_images"),
        ({"cache": "never"}, "cache"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_retries": -1}, "max_retries"),
        ({"backoff": -1}, "backoff"),
        ({"timeout": 0}, "timeout"),
        ({"total_timeout": float("inf")}, "total_timeout"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": -5}, "tokens_per_minute"),
        ({"cache_gb": 0}, "cache_gb"),
        ({"prices": {}}, "prices"),
        ({"prices": {"input": 1}}, "prices"),
        ({"prices": {"input": 1, "output": -1}}, "output"),
        ({"prices": {"input": 1, "output": float("nan")}}, "output"),
        ({"max_cost": 0, "prices": {"input": 1, "output": 1}}, "max_cost"),
        ({"max_cost": 5}, "max_cost needs prices"),
        ({"extra_body": {"stream": True, "n": 2}}, "extra_body cannot set n, stream"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_no_secret_told(fault, told):
    with pytest.raises(ConfigError, match=told) as caught:
        ChatConfig(**(GOOD | fault))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_client_takes_the_fields_of_the_settings_too():
    assert ChatClient("http://localhost", "m", concurrency=3).config == ChatConfig(
        base_url="http://localhost", model="m", concurrency=3
    )
    with pytest.raises(ConfigError, match="concurrency"):
        ChatClient("http://localhost", "m", concurrency=0)


def test_the_key_is_in_no_repr_and_in_no_record():
    config = ChatConfig(**GOOD, api_key=SECRET)
    record = config.record()
    assert config.api_key == SECRET
    for text in (repr(config), str(config), json.dumps(record), repr(ChatClient.from_config(config))):
        assert SECRET not in text
    assert record["model"] == "judge"
    assert "api_key" not in record


def test_settings_come_from_text_as_command_lines_have_it():
    config = ChatConfig.from_mapping(
        GOOD | {"api_key": 12345678, "timeout": "30", "max_retries": "2", "prices": {"input": "0.15", "output": "0.6"}}
    )
    assert (config.api_key, config.timeout, config.max_retries) == ("12345678", 30.0, 2)
    assert config.prices == {"input": 0.15, "output": 0.6}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (GOOD | {"modle": "x"}, "unknown setting modle (did you mean model?)"),
        (GOOD | {"qqq": "x"}, "unknown setting qqq (there are base_url, model"),
        ({"model": "x", "api_key": SECRET}, "base_url is missing"),
        (GOOD | {"timeout": "soon", "api_key": SECRET}, "timeout: "),
        (GOOD | {"api_key": ["x", SECRET]}, "api_key: "),
        (GOOD | {"concurrency": 0}, "concurrency must be at least 1"),
    ],
)
def test_every_fault_of_a_file_is_told_in_one_line_without_the_key(given, told):
    with pytest.raises(ConfigError) as caught:
        ChatConfig.from_mapping(given, where="judge")
    assert str(caught.value).startswith("judge: ")
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prices_are_per_million_tokens():
    config = ChatConfig(**GOOD, prices={"input": 0.5, "output": 2.0})
    assert config.price(1_000_000, 500_000) == pytest.approx(1.5)
    assert ChatConfig(**GOOD).price(10**6, 10**6) == 0.0


def test_what_was_given_cannot_be_changed_afterwards():
    prices = {"input": 1.0, "output": 1.0}
    config = ChatConfig(**GOOD, prices=prices)
    prices["input"] = 0.0
    assert config.prices == {"input": 1.0, "output": 1.0}


def test_one_server_has_one_spelling():
    assert (
        ChatConfig(base_url="http://host/v1/", model="m").server
        == ChatConfig(base_url="http://host/v1", model="m").server
    )
