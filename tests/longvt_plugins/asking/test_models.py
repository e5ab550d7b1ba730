"""Which model a name means; and a server's list of models, which is believed no further than needed."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longvt_plugins.asking.models import only_model, open_model
from longvt_plugins.chat import ChatClient, ChatConfig
from longvt_plugins.commands.ui import _is_loopback
from longvt_plugins.errors import ChatError, ConfigError


@contextmanager
def listing(body, status=200):
    """A server that answers every GET with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def models(*names):
    return json.dumps({"data": [{"id": name} for name in names]}).encode()


def test_the_only_model_is_asked():
    with listing(models("qwen")) as base_url:
        opened = open_model(None, base_url=base_url, prices={"input": 1, "output": 2})
    assert (opened.name, opened.has_prices, opened.defaults) == ("qwen", True, {})
    assert isinstance(opened.backend, ChatClient)


@pytest.mark.parametrize(
    ("body", "status", "kind", "complaint"),
    [
        (models("a", "b"), 200, ConfigError, "serves 2 models; choose one with --model: a, b"),
        (models(*map(str, range(100))), 200, ConfigError, "7, ..."),
        (models(), 200, ChatError, "no list of models"),
        (models("\x1b[2J"), 200, ChatError, "no list of models"),
        (b'{"data": [3, {"id": null}]}', 200, ChatError, "no list of models"),
        (b"[" * 100_000, 200, ChatError, "no list of models"),
        (b"<html>", 200, ChatError, "no list of models"),
        (models("a"), 401, ChatError, "HTTP 401"),
        (b" " * (2 << 20), 200, ChatError, "longer than"),
    ],
)
def test_a_list_that_names_no_one_model_is_one_clear_line(body, status, kind, complaint):
    with listing(body, status) as base_url, pytest.raises(kind, match=complaint) as raised:
        only_model(ChatConfig(base_url=base_url, model="unknown"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("host", False)],
)
def test_who_else_may_be_answered_by_the_page_is_known(host, is_loopback):
    assert _is_loopback(host) == is_loopback
