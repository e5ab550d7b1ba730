"""The offline reader as an OpenAI-compatible chat server on the loopback interface.

::

    with ReaderServer() as server:
        client = ChatClient(server.base_url, MODEL)         # or any other client of that API
        ...

    longvt synth serve --port 8000                          # the same, until Ctrl-C

It speaks ``/v1/chat/completions`` (one choice, not streamed) and ``/v1/models``, so that evaluation, curation
and single questions can be tried end to end without a model. Where a JSON Schema is asked for, the reply has it
(:mod:`longvt_plugins.synthetic.curator`). It answers whoever can reach the port.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from longvt_plugins.chat import Completion
from longvt_plugins.errors import ChatError
from longvt_plugins.synthetic.curator import fill_schema
from longvt_plugins.synthetic.reader import OfflineReader, count_tokens

MODEL = "offline-reader"
DEFAULT_MAX_TOKENS = 4096
MAX_BODY = 256 << 20
"""Bytes of the largest request: 512 frames of 224x224 pixels take about 20 MB."""

_TIMEOUT = 60.0

logger = logging.getLogger(__name__)


class ReaderServer:
    """Serves an offline reader; a context manager.

    Args:
        reader: Who answers.
        port: 0 for any that is free.
        max_body: Bytes of the largest request that is read.

    Attributes:
        base_url: For a client.
    """

    def __init__(self, reader: OfflineReader | None = None, *, port: int = 0, max_body: int = MAX_BODY) -> None:
        self._server = _Server(("127.0.0.1", port), _handler(reader or OfflineReader(), max_body))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait(self) -> None:
        """Blocks until the server ends."""
        self._thread.join()

    def __enter__(self) -> ReaderServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default of 5 refuses clients that connect all at once


class _BadRequest(Exception):
    """What the client did wrong."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


def _handler(reader: OfflineReader, max_body: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _TIMEOUT  # a client that stops talking does not hold its thread for ever

        def do_GET(self) -> None:
            self._answer(lambda: _models(self.path))

        def do_POST(self) -> None:
            self._answer(lambda: _chat(reader, self.path, self._body()))

        def _answer(self, work: Any) -> None:
            try:
                status, body = HTTPStatus.OK, work()
            except _BadRequest as error:
                status, body = error.status, _error(str(error), "invalid_request_error")
                self.close_connection = True  # what is left of the body was not read
            except (ConnectionError, TimeoutError):
                raise  # nobody is left to be answered
            except Exception:
                # The client learns that it was our fault, and the traceback is kept.
                logger.exception("the offline reader failed")
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, _error("internal error", "server_error")
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if self.close_connection:
                self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            length = self.headers.get("content-length", "")
            if not (length.isascii() and length.isdigit()):
                raise _BadRequest("a request needs a content-length", HTTPStatus.LENGTH_REQUIRED)
            if int(length) > max_body:
                raise _BadRequest(
                    f"the request has {length} bytes; at most {max_body} are read", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                )
            return self.rfile.read(int(length))

        def log_message(self, format: str, *args: Any) -> None:
            logger.debug(format, *args)

    return Handler


def _models(path: str) -> dict[str, Any]:
    _check_path(path, "/v1/models")
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "longvt-plugins"}]}


def _chat(reader: OfflineReader, path: str, body: bytes) -> dict[str, Any]:
    _check_path(path, "/v1/chat/completions")
    request = _request(body)
    limit = request.get("max_completion_tokens") or request.get("max_tokens") or DEFAULT_MAX_TOKENS
    try:
        if (filled := fill_schema(_wanted_schema(request), request["messages"], reader)) is not None:
            text = json.dumps(filled, ensure_ascii=False)
            return _reply(
                Completion(
                    {"role": "assistant", "content": text}, "stop", count_tokens(request["messages"]), len(text.split())
                )
            )
        completion = asyncio.run(
            reader.complete(
                request["messages"],
                request.get("tools") or [],
                max_tokens=limit,
                temperature=0.0,
            )
        )
    except ChatError as error:
        raise _BadRequest(str(error)) from error
    return _reply(completion)


def _request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise _BadRequest("the body must be a JSON object")
    messages, tools = request.get("messages"), request.get("tools")
    if not isinstance(messages, list) or not messages:
        raise _BadRequest("'messages' must be a list with at least one message")
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        raise _BadRequest("'tools' must be a list of objects")
    for name in ("max_tokens", "max_completion_tokens"):
        value = request.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise _BadRequest(f"{name!r} must be a whole number of at least 1")
    temperature = request.get("temperature")
    if temperature is not None and not (
        type(temperature) in (int, float) and math.isfinite(temperature) and temperature >= 0
    ):
        raise _BadRequest("'temperature' must be a number that is not negative")
    if request.get("stream"):
        raise _BadRequest("streaming is not supported: leave 'stream' out")
    if request.get("n") not in (None, 1):
        raise _BadRequest("'n' must be 1")
    return request


def _wanted_schema(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON Schema that the reply is to have; empty where none is asked for."""
    found: Any = request
    for name in ("response_format", "json_schema", "schema"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _reply(completion: Completion) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.message["content"]}
    if calls := completion.message.get("tool_calls"):
        message["tool_calls"] = [
            {
                # Unique among all conversations, as a server's ids are.
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": json.dumps(call["function"]["arguments"])},
            }
            for call in calls
        ]
    read, written = completion.prompt_tokens, completion.completion_tokens
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": completion.stop_reason, "logprobs": None}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def _check_path(path: str, known: str) -> None:
    if path.partition("?")[0].rstrip("/") != known:
        raise _BadRequest(f"there is no {path[:200]}; there is {known}", HTTPStatus.NOT_FOUND)


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
