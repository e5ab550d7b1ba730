"""Connections in small pools are used again, and as many requests are in flight as are sent."""

from __future__ import annotations

import asyncio

import httpx2

from longvt_plugins.chat.pools import POOL_SIZE, SmallPools

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_connections_are_used_again_and_a_crowd_larger_than_the_pools_is_served():
    opened = 0
    crowd = largest = 0

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
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with httpx2.AsyncClient(
            transport=SmallPools(2 * POOL_SIZE, verify=httpx2.create_ssl_context())
        ) as client:
            for _ in range(3):
                replies = await asyncio.gather(*(client.get(url) for _ in range(2 * POOL_SIZE)))
                assert {reply.text for reply in replies} == {"ok"}
            assert opened == 2 * POOL_SIZE, "the second and third crowd opened none"
            await asyncio.gather(*(client.get(url) for _ in range(3 * POOL_SIZE)))
        server.close()

    asyncio.run(main())
    assert largest == 3 * POOL_SIZE
    assert opened == 3 * POOL_SIZE


def test_a_request_that_fails_frees_its_place():
    async def main():
        pools = SmallPools(2 * POOL_SIZE, verify=httpx2.create_ssl_context())
        async with httpx2.AsyncClient(transport=pools) as client:
            for _ in range(3):
                try:
                    await client.get("http://127.0.0.1:1/")
                except httpx2.ConnectError:
                    continue
        return pools._busy

    assert asyncio.run(main()) == [0, 0]
