"""Servers that lack something are asked without it, from the first refusal on."""

import asyncio

import pytest

from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.chat.dialect import MAX_REFUSED_SCHEMAS, Dialect, response_format
from longvt_plugins.errors import ChatRequestError
from longvt_plugins.testing_server import (
    Reply,
    ScriptedChatServer,
    assistant,
    failure,
    refusing_response_format,
)

QUESTION = [{"role": "user", "content": "Which colour?"}]
SCHEMA = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
STRICT = SCHEMA | {"additionalProperties": False}

UNSUPPORTED_MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
UNSUPPORTED_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported."
)


def make(server, **settings):
    return ChatClient.from_config(ChatConfig(base_url=server.base_url, model="judge", backoff=0.001, **settings))


def ask(client, **options):
    return asyncio.run(client.complete(QUESTION, **({"max_tokens": 16} | options)))


def test_a_schema_travels_as_openai_has_it():
    with ScriptedChatServer([assistant('{"score": 1}')]) as server:
        completion = ask(make(server), response_schema=STRICT)
    assert completion.structured is True
    assert server.requests[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": STRICT, "strict": True},
    }


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (STRICT, True),
        (SCHEMA, False),
        (STRICT | {"required": []}, False),
        (STRICT | {"properties": {"score": SCHEMA}}, False),
        (STRICT | {"properties": {"score": {"anyOf": [STRICT, {"type": "null"}]}}}, True),
        (STRICT | {"properties": {"score": {"type": "array", "items": SCHEMA}}}, False),
    ],
)
def test_strictness_is_asked_for_where_the_schema_allows_it(schema, strict):
    assert response_format(schema)["json_schema"]["strict"] is strict


def test_a_server_without_structured_output_is_asked_again_without_and_never_with_again(caplog):
    with ScriptedChatServer(refusing_response_format([assistant("1"), assistant("1")])) as server:
        client = make(server)
        completions = [ask(client, response_schema=SCHEMA) for _ in range(2)]
    assert [completion.structured for completion in completions] == [False, False]
    assert [completion.retries for completion in completions] == [0, 0]
    assert ["response_format" in request for request in server.requests] == [True, False, False]
    assert sum("refuses response_format" in line for line in caplog.messages) == 1
    assert client.health.down_since is None


def test_one_schema_that_a_server_cannot_follow_leaves_it_the_others(caplog):
    odd = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=x)y"}}}

    def script(request):
        is_odd = "pattern" in str(request.get("response_format"))
        return failure(400, "Grammar error: look-around is not supported") if is_odd else assistant("{}")

    with ScriptedChatServer(script) as server:
        client = make(server)
        structured = [ask(client, response_schema=schema).structured for schema in (odd, SCHEMA, odd, STRICT)]
    assert structured == [False, True, False, True]
    assert len(server.requests) == 5
    assert sum("refuses response_format" in line for line in caplog.messages) == 1


def test_a_server_that_never_took_a_schema_is_not_offered_a_third():
    schemas = [{"type": "object", "title": f"schema {n}"} for n in range(10)]
    with ScriptedChatServer(refusing_response_format(lambda request: assistant("1"))) as server:
        client = make(server)
        assert not any(ask(client, response_schema=schema).structured for schema in schemas)
    assert sum("response_format" in request for request in server.requests) == 2


def test_refused_schemas_are_remembered_up_to_a_bound():
    schemas = [{"type": "object", "title": f"schema {n}"} for n in range(MAX_REFUSED_SCHEMAS + 20)]

    def script(request):
        is_odd = "schema" in str(request.get("response_format", {}).get("json_schema", {}).get("schema"))
        return failure(400, "Grammar error") if is_odd else assistant("{}")

    with ScriptedChatServer(script) as server:
        client = make(server)
        ask(client, response_schema=SCHEMA)
        for schema in schemas:
            ask(client, response_schema=schema)
    assert sum("response_format" in request for request in server.requests) == 1 + MAX_REFUSED_SCHEMAS


def test_many_requests_at_once_are_all_asked_again():
    async def crowd(client):
        return await asyncio.gather(
            *(client.complete(QUESTION, max_tokens=16, response_schema=SCHEMA) for _ in range(20))
        )

    with ScriptedChatServer(refusing_response_format(lambda request: assistant("1"))) as server:
        assert len(asyncio.run(crowd(make(server)))) == 20
    assert sum("response_format" not in request for request in server.requests) == 20


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "This response_format type is unavailable now"),
        (400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
        (400, [{"error": {"code": 400, "message": "Unknown name \"additionalProperties\" at 'response_schema'"}}]),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"]}]}),
        (400, "Grammar-based generation is not supported when the server is launched with --grammar-backend none"),
        (500, "Grammar-based generation is not supported when the server is launched with --grammar-backend none"),
        (400, "The provided JSON schema contains features not supported by xgrammar: structured outputs"),
    ],
)
def test_refusals_of_structured_output_are_known(status, body):
    reply = failure(status, body) if isinstance(body, str) else Reply(body, status)
    with ScriptedChatServer([reply, assistant("1")]) as server:
        assert ask(make(server), response_schema=SCHEMA).structured is False
    assert "response_format" not in server.requests[1]


def test_models_with_parameters_of_their_own_are_given_them(caplog):
    def script(request):
        if "max_tokens" in request:
            return failure(400, UNSUPPORTED_MAX_TOKENS)
        if "temperature" in request:
            return failure(400, UNSUPPORTED_TEMPERATURE)
        if "seed" in request:
            return Reply([{"error": {"message": 'Unknown name "seed": Cannot find field.'}}], 400)
        return assistant("red")

    with ScriptedChatServer(script) as server:
        client = make(server)
        for _ in range(2):
            ask(client, temperature=0.3, seed=1)
    assert len(server.requests) == 5
    assert server.requests[-1]["max_completion_tokens"] == 16
    assert {"max_tokens", "temperature", "seed"}.isdisjoint(server.requests[-1])
    assert sum("refuses" in line for line in caplog.messages) == 3


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 20000. This model supports at most 16384 completion tokens",
        "This model's maximum context length is 4096 tokens",
        "temperature must be non-negative",
        "seed must be an integer",
    ],
)
def test_other_refusals_are_the_callers_to_see(message):
    with ScriptedChatServer([failure(400, message)]) as server, pytest.raises(ChatRequestError, match=message[:20]):
        ask(make(server), temperature=0.3, seed=1)
    assert len(server.requests) == 1


def test_a_server_that_names_response_format_for_ever_is_not_asked_for_ever():
    with (
        ScriptedChatServer(lambda request: failure(400, "response_format? grammar!")) as server,
        pytest.raises(ChatRequestError),
    ):
        ask(make(server), response_schema=SCHEMA)
    assert len(server.requests) == 2


def test_what_was_not_sent_cannot_be_refused():
    dialect = Dialect("here")
    assert not dialect.learn({"max_completion_tokens": 5}, 400, "max_completion_tokens is too large")
    assert not dialect.learn({"response_format": {}}, 401, "response_format")
    assert dialect.spell({"max_tokens": 5}) == {"max_tokens": 5}
