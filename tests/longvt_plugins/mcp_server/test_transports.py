"""longvt mcp as clients start it or reach it: a process over its pipes, and streamable HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.mcp_server.transports import serve_http

ROOT = Path(__file__).resolve().parents[3]
OPENING = "2024/opening.mp4"
COMMAND = [sys.executable, "-m", "longvt_plugins.cli", "mcp"]


async def look(client):
    await client.initialize()
    names = [tool.name for tool in (await client.list_tools()).tools]
    reply = await client.call_tool("get_frames", {"video_path": OPENING, "timestamps": [3, 4]})
    return names, reply


def configured(key, folder):
    """What the document tells to write into a client's configuration, with the program and the folder that are here."""
    text = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    examples = [json.loads(example) for example in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    (lines,) = [example[key]["longvt"] for example in examples if key in example]
    assert lines["command"] == "/home/me/venv/bin/longvt"
    places = {"/home/me/Videos": str(folder)}
    program = str(Path(sys.executable).with_name("longvt"))
    return {"command": program, "args": [places.get(arg, arg) for arg in lines["args"]]}


def test_the_configurations_of_clients_start_the_same_program(talks):
    assert configured("servers", talks) == configured("mcpServers", talks)


def check(names, reply):
    assert names == ["list_videos", "crop_video", "get_frames", "zoom_region", "search_subtitles"]
    assert [content.type for content in reply.content] == ["text", "text", "image", "text", "image"]


def test_a_client_starts_it_as_the_document_says_and_speaks_over_its_pipes(talks, tmp_path):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def use():
        env = {**os.environ, "LONGVT_CACHE": str(tmp_path)}
        started = StdioServerParameters(**configured("mcpServers", talks), env=env)
        async with stdio_client(started) as (read, write), ClientSession(read, write) as client:
            return await look(client)

    check(*anyio.run(use))


@pytest.fixture(scope="module")
def address(talks, tmp_path_factory):
    """Of a server over HTTP, a process of its own."""
    environment = {**os.environ, "LONGVT_CACHE": str(tmp_path_factory.mktemp("cache"))}
    server = subprocess.Popen(
        [*COMMAND, str(talks), "--http", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield server.stdout.readline().split()[0]
    finally:
        server.terminate()
        server.wait()


def test_clients_reach_it_over_http(address):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def use():
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as client:
            return await look(client)

    check(*anyio.run(use))
    check(*anyio.run(use))  # another session with the same warm process


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_page_of_another_site_cannot_reach_it(address, header):
    """DNS rebinding: the browser believes that the site's own name is this machine."""
    import httpx

    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    accepted = {"Accept": "application/json, text/event-stream"}
    reply = httpx.post(address, json=hello, headers={**accepted, **header})
    assert reply.status_code in (403, 421)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("0.0.0.0", 0, "0.0.0.0 is open to the network: say under which names clients reach it, with --allow-host"),
        ("127.0.0.1", 99999, "127.0.0.1:99999 cannot be listened on"),
        ("127.0.0.1", -1, "127.0.0.1:-1 cannot be listened on"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(host, port, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        anyio.run(lambda: serve_http(None, host=host, port=port))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "longvt: /nowhere is not a folder"),
        ([], "the following arguments are required: DIR"),
        ([".", "--port", "99"], "--host, --port and --allow-host are for --http"),
        ([".", "--tools", "crop_vdeo"], "No tool named 'crop_vdeo'. Did you mean 'crop_video'?"),
    ],
)
def test_a_faulty_command_ends_with_one_line(run, arguments, said):
    done = run("longvt", "mcp", *arguments, code=2)
    assert said in done.stderr
    assert done.stdout == ""
