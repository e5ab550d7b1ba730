"""A scripted OpenAI-compatible chat server on the loopback interface, for tests: real HTTP, no model.

::

    with ScriptedChatServer([assistant("<think>..</think><answer>red</answer>")]) as server:
        client = ChatClient(server.base_url, "scripted")
        ...
        server.requests[0]["messages"]      # what was really sent

    def script(request):                    # or a function, called from several threads
        return assistant("1") if "red" in asked_text(request) else rate_limited(2.0)

    script = refusing_response_format([assistant("1"), slow(assistant("1"), 0.05), hang(), reset()])

    with ScriptedChatServer(script) as server:
        server.stop()                       # as if killed: connections break, new ones are refused
        server.start()                      # on the same port

Replies that fail in the ways that servers do: :func:`failure`, :func:`rate_limited`, :func:`slow`, :func:`hang`,
:func:`reset`, :func:`cut_off`, :func:`truncated`, :func:`reasoning`, :func:`null_content`, :func:`no_choices`,
:func:`unreadable`; one that arrives in pieces: :func:`streamed`. The server checks nothing; it answers
``/v1/chat/completions`` and ``/v1/models``. One that is strict and fails in every way:
:mod:`longvt_plugins.testing_adversary`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_NO_LINGER = struct.pack("ii", 1, 0)
"""A socket that is closed so is reset, and not closed politely."""


@dataclass(frozen=True)
class Reply:
    """What the server sends back.

    Args:
        body: A dict, sent as JSON, or text, sent as it is.
        status: HTTP status.
        headers: Besides the content type.
        delay: Seconds before anything is sent; infinite: until the server stops.
        cut: Bytes of the body after which the connection breaks; negative: nothing at all is sent.
        events: Instead of the body, data of server-sent events, each sent when it is given.
    """

    body: dict[str, Any] | str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    events: Iterable[str] | None = None


Script = Iterable[Reply] | Callable[[dict[str, Any]], Reply]
"""Replies in order, or a function from the request's JSON to its reply, called from several threads."""


def assistant(
    content: str | None = None,
    calls: Iterable[tuple[str, str, Any]] = (),
    *,
    finish_reason: str | None = None,
    usage: tuple[int, int] | None = (7, 5),
    **fields: Any,
) -> Reply:
    """A turn of the model.

    Args:
        content: Its text; None as servers send it beside tool calls.
        calls: Id, name and arguments each; arguments that are text are sent as they are, valid JSON or not.
        finish_reason: Instead of the natural one.
        usage: Tokens read and written; None for a server that does not say.
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
    body: dict[str, Any] = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }
    if usage is not None:
        read, written = usage
        body["usage"] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return Reply(body)


def truncated(content: str | None) -> Reply:
    """A turn that was cut off at ``max_tokens``."""
    return assistant(content, finish_reason="length")


def reasoning(thought: str, content: str | None) -> Reply:
    """A turn of a server that takes the thought out of the text."""
    return assistant(content, reasoning_content=thought)


def null_content() -> Reply:
    """A turn with neither text nor calls."""
    return assistant(None)


def no_choices() -> Reply:
    """A reply of the right form that holds no turn."""
    return Reply({"id": "chatcmpl-scripted", "object": "chat.completion", "choices": []})


def unreadable(text: str = "<html>Bad gateway</html>") -> Reply:
    """A reply that is no JSON, with status 200, as proxies send them."""
    return Reply(text)


def failure(status: int, message: str = "scripted failure", **headers: str) -> Reply:
    """An HTTP error; underscores in header names become hyphens (``retry_after="2"``)."""
    return Reply(
        {"error": {"message": message}}, status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def rate_limited(retry_after: float | None = None) -> Reply:
    """Too many requests.

    Args:
        retry_after: Seconds that the client is asked to wait; None leaves it to the client.
    """
    headers = {} if retry_after is None else {"retry_after": f"{retry_after:g}"}
    return failure(429, "rate limit reached", **headers)


def slow(reply: Reply, seconds: float) -> Reply:
    """A reply that takes its time."""
    return replace(reply, delay=seconds)


def hang() -> Reply:
    """No reply, on a connection that stays open until the server stops."""
    return replace(assistant(""), delay=float("inf"))


def reset() -> Reply:
    """A connection that breaks before anything was sent."""
    return replace(assistant(""), cut=-1)


def cut_off(reply: Reply, after: int = 20) -> Reply:
    """A connection that breaks in the middle of the body.

    Args:
        reply: What would have been sent.
        after: Bytes of its body that still are.
    """
    return replace(reply, cut=after)


def refusing_response_format(script: Script) -> Callable[[dict[str, Any]], Reply]:
    """A script of a server without structured output: requests that ask for it are refused, and do not count.

    Args:
        script: For the other requests.
    """
    rest = answering(script)

    def answer(request: dict[str, Any]) -> Reply:
        if "response_format" in request:
            return failure(400, "response_format is not supported by this server")
        return rest(request)

    return answer


def streamed(reply: Reply, *, size: int = 8, pause: Callable[[], object] | None = None) -> Reply:
    """A turn in pieces, as servers send it that were asked to.

    Args:
        reply: What :func:`assistant` or :func:`reasoning` made.
        size: Characters of a piece.
        pause: Called after the first piece, before anything more is sent.
    """
    assert isinstance(reply.body, dict)
    choice = reply.body["choices"][0]
    message = choice["message"]

    def parts() -> Iterator[dict[str, Any]]:
        for name in ("reasoning_content", "content"):
            text = message.get(name) or ""
            yield from ({name: text[place : place + size]} for place in range(0, len(text), size))
        for number, call in enumerate(message.get("tool_calls", ())):
            given = call["function"]["arguments"]
            yield {"tool_calls": [{**call, "index": number, "function": {**call["function"], "arguments": ""}}]}
            for place in range(0, len(given), size):
                yield {"tool_calls": [{"index": number, "function": {"arguments": given[place : place + size]}}]}

    def events() -> Iterator[str]:
        for number, delta in enumerate(parts()):
            yield json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            if number == 0 and pause is not None:
                pause()
        yield json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
        yield json.dumps({"choices": [], "usage": reply.body["usage"]})  # type: ignore[index]
        yield "[DONE]"

    return replace(reply, events=events())


def asked_text(request: Mapping[str, Any]) -> str:
    """All text of a request's messages, a line each; what functions decide by.

    Args:
        request: Its JSON.
    """
    lines = []
    for message in request["messages"]:
        content = message.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        lines.append("".join(part.get("text", "") for part in parts))
    return "\n".join(lines)


class ScriptedChatServer:
    """Serves a script; a context manager.

    Args:
        script: What to answer. When a list has run out the server answers 500 and says so.

    Attributes:
        base_url: For a client; the same after a restart.
        requests: Bodies of the chat requests, in order of arrival.
        headers: Their headers.
        largest_crowd: The most requests that were in flight at once.
    """

    def __init__(self, script: Script) -> None:
        self._script = answering(script)
        self._lock = threading.Lock()
        self._crowd = 0
        self._stopped = threading.Event()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.largest_crowd = 0
        self._server: _Server | None = _Server(0, self)
        self._thread: threading.Thread | None = None
        self._port = self._server.server_address[1]
        self.base_url = f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> ScriptedChatServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serves; after :meth:`stop`, again on the same port."""
        if self._thread is not None:
            return
        if self._server is None:
            self._server = _Server(self._port, self)
        self._stopped.clear()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Goes down as if killed: requests under way get no reply, and nobody listens."""
        self._stopped.set()
        if self._server is not None:
            if self._thread is not None:
                self._server.shutdown()
                self._thread.join()
            self._server.server_close()
            self._server.break_connections()
        self._server, self._thread = None, None

    def answer(self, request: dict[str, Any], headers: dict[str, str]) -> Reply | None:
        """The reply to a chat request, which is kept; None when the server has stopped meanwhile."""
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._crowd += 1
            self.largest_crowd = max(self.largest_crowd, self._crowd)
        try:
            reply = self._script(request)
            if reply.delay > 0:
                self._stopped.wait(min(reply.delay, threading.TIMEOUT_MAX))
            return None if self._stopped.is_set() else reply
        finally:
            with self._lock:
                self._crowd -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default of 5 refuses clients that connect all at once

    def __init__(self, port: int, scripted: ScriptedChatServer) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _handler(scripted))

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        with self._open_lock:
            for connection in self._open:
                # One that the client has closed in this moment cannot be broken any more.
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    connection.shutdown(socket.SHUT_RDWR)


def answering(script: Script) -> Callable[[dict[str, Any]], Reply]:
    """A script as a function."""
    if callable(script):
        return script
    replies = iter(script)
    lock = threading.Lock()

    def answer(request: dict[str, Any]) -> Reply:
        with lock:
            return next(replies, failure(500, "the script has run out"))

    return answer


def _handler(server: ScriptedChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes; joined by the kernel, small replies would take 40 ms.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._send(Reply({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            lowered = {name.lower(): value for name, value in self.headers.items()}
            # A client that waited no longer is what some tests are about.
            with suppress(ConnectionError):
                self._send(server.answer(json.loads(body), lowered))

        def _send(self, reply: Reply | None) -> None:
            if reply is None or (reply.cut is not None and reply.cut < 0):
                self._break()
                return
            if reply.events is not None:
                self._send_events(reply.events)
                return
            is_text = isinstance(reply.body, str)
            data = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
            self.send_response(reply.status)
            self.send_header("content-type", "text/plain" if is_text else "application/json")
            self.send_header("content-length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: reply.cut])
            if reply.cut is not None:
                self._break()

        def _send_events(self, events: Iterable[str]) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("connection", "close")
            self.end_headers()
            for event in events:
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()

        def _break(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: tests read ``requests``."""

    return Handler
