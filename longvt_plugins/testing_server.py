"""A scripted OpenAI-compatible chat server on the loopback interface, for tests: real HTTP, no model.

::

    with ScriptedChatServer([assistant("<think>..</think><answer>red</answer>")]) as server:
        client = ChatClient(server.base_url, "scripted")
        ...
        server.requests[0]["messages"]      # what was really sent

It checks nothing and streams nothing; it answers ``/v1/chat/completions`` and ``/v1/models``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server sends back.

    Args:
        body: A dict, sent as JSON, or text, sent as it is.
        status: HTTP status.
        headers: Besides the content type.
    """

    body: dict[str, Any] | str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Iterable[Reply] | Callable[[dict[str, Any]], Reply]
"""Replies in order, or a function from the request's JSON to its reply, called from several threads."""


def assistant(
    content: str | None = None,
    calls: Iterable[tuple[str, str, Any]] = (),
    *,
    finish_reason: str | None = None,
    **fields: Any,
) -> Reply:
    """A turn of the model.

    Args:
        content: Its text; None as servers send it beside tool calls.
        calls: Id, name and arguments each; arguments that are text are sent as they are, valid JSON or not.
        finish_reason: Instead of the natural one.
        fields: Further fields of the message, such as ``reasoning_content``.
    """
    entries = [
        {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for call_id, name, given in calls
    ]
    message = {"role": "assistant", "content": content, **({"tool_calls": entries} if entries else {}), **fields}
    reason = finish_reason or ("tool_calls" if entries else "stop")
    return Reply(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        }
    )


def failure(status: int, message: str = "scripted failure", **headers: str) -> Reply:
    """An HTTP error; underscores in header names become hyphens (``retry_after="2"``)."""
    return Reply(
        {"error": {"message": message}}, status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


class ScriptedChatServer:
    """Serves a script; a context manager.

    Args:
        script: What to answer. When a list has run out the server answers 500 and says so.

    Attributes:
        base_url: For a client.
        requests: Bodies of the chat requests, in order of arrival.
        headers: Their headers.
        largest_crowd: The most requests that were in flight at once.
    """

    def __init__(self, script: Script) -> None:
        self._script = script if callable(script) else iter(script)
        self._lock = threading.Lock()
        self._crowd = 0
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.largest_crowd = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ScriptedChatServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        """The reply to a chat request, which is kept."""
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._crowd += 1
            self.largest_crowd = max(self.largest_crowd, self._crowd)
        try:
            if callable(self._script):
                return self._script(request)
            with self._lock:
                return next(self._script, failure(500, "the script has run out"))
        finally:
            with self._lock:
                self._crowd -= 1


def _handler(server: ScriptedChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(Reply({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            lowered = {name.lower(): value for name, value in self.headers.items()}
            self._send(server.answer(json.loads(body), lowered))

        def _send(self, reply: Reply) -> None:
            is_text = isinstance(reply.body, str)
            data = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            self.send_header("content-type", "text/plain" if is_text else "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            # A client that waited no longer is what some tests are about.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: tests read ``requests``."""

    return Handler
