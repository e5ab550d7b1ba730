"""Connections are used again, as many requests are in flight as may be, and whatever goes wrong has a name."""

from __future__ import annotations

import asyncio
import gc
import logging

import httpx2
import pytest

from longvt_plugins.chat.carrier import Carrier

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TLS = httpx2.create_ssl_context()


async def serve(answer):
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def always(data):
    """A server that says the same to everybody, and hangs up."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    return answer


def fetch(answer, **request):
    async def once():
        server, url = await serve(answer)
        async with httpx2.AsyncClient(transport=Carrier(2, TLS)) as client:
            reply = await client.post(url, **request)
        server.close()
        return reply

    return asyncio.run(once())


def test_connections_are_used_again_and_no_more_than_allowed_are_opened():
    opened = crowd = largest = 0

    async def answer(reader, writer):
        nonlocal opened, crowd, largest
        opened += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                crowd += 1
                largest = max(largest, crowd)
                await asyncio.sleep(0.02)
                crowd -= 1
                writer.write(REPLY)
        except asyncio.IncompleteReadError:
            writer.close()

    async def main():
        server, url = await serve(answer)
        async with httpx2.AsyncClient(transport=Carrier(8, TLS)) as client:
            for _ in range(3):
                replies = await asyncio.gather(*(client.get(url) for _ in range(12)))
                assert {reply.text for reply in replies} == {"ok"}
        server.close()

    asyncio.run(main())
    assert (largest, opened) == (8, 8)


def test_a_large_body_arrives_whole():
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + (b"ok" if body == sent else b"no"))

    sent = bytes(range(256)) * 20_000
    assert fetch(answer, content=sent).text == "ok"


def test_a_redirect_is_not_followed_and_a_packed_reply_is_not_unpacked():
    moved = fetch(always(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"))
    assert moved.status_code == 302

    async def raw():
        server, url = await serve(always(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nfour"))
        async with httpx2.AsyncClient(transport=Carrier(2, TLS)) as client, client.stream("GET", url) as reply:
            data = b"".join([chunk async for chunk in reply.aiter_raw()])
        server.close()
        return data

    assert asyncio.run(raw()) == b"four"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "no HTTP", "an endless header", "half a body", "no chunk"],
)
def test_a_reply_that_is_none_is_an_error_of_the_network(data):
    with pytest.raises(httpx2.NetworkError):
        fetch(always(data))


def test_a_server_that_is_not_there_and_a_host_that_cannot_be_are_named_so():
    async def ask(url):
        async with httpx2.AsyncClient(transport=Carrier(2, TLS)) as client:
            await client.get(url)

    with pytest.raises(httpx2.ConnectError):
        asyncio.run(ask("http://127.0.0.1:1/"))
    with pytest.raises((httpx2.InvalidURL, httpx2.TransportError)):
        asyncio.run(ask("http://exa mple/"))


def test_a_loop_that_ended_without_a_word_leaves_nothing_in_the_log(caplog, recwarn):
    async def answer(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(REPLY)

    async def leave():
        _, url = await serve(answer)
        client = httpx2.AsyncClient(transport=Carrier(2, TLS))
        assert (await client.get(url)).text == "ok"
        return client

    with caplog.at_level(logging.DEBUG):
        client = asyncio.run(leave())
        del client
        gc.collect()
    assert not [record for record in caplog.records if "nclosed" in record.getMessage()]
    assert not [one for one in recwarn if "never awaited" in str(one.message)]
