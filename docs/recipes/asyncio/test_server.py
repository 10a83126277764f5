import asyncio

import pytest

from pytest_isolate import isolate


async def echo(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


@isolate(timeout="5s")
@pytest.mark.asyncio
async def test_on_the_port_that_production_has():
    async with await asyncio.start_server(echo, "127.0.0.1", 8080):
        reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()


@isolate(timeout="500ms")
@pytest.mark.asyncio
async def test_that_waits_for_an_answer_that_does_not_come():
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 8080):
        reader, _ = await asyncio.open_connection("127.0.0.1", 8080)
        await reader.readline()
