"""Event loops: those of a test, and those that tests share and a child has a copy of."""

from __future__ import annotations

import pytest

LOOPS = {
    "test_loops.py": (
        """
        import asyncio, socket
        import pytest, pytest_asyncio

        @pytest.fixture
        def plain(): return 1

        @pytest_asyncio.fixture
        async def own():
            await asyncio.sleep(0)
            yield asyncio.get_running_loop()
            await asyncio.sleep(0)

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def shared():
            await asyncio.sleep(0)
            yield {"loop": asyncio.get_running_loop()}
            await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_function(own, plain): assert asyncio.get_running_loop() is own

        @pytest.mark.asyncio
        async def test_fails(): await asyncio.sleep(0); assert 0

        @pytest.mark.asyncio(loop_scope="module")
        async def test_shared(shared): assert asyncio.get_running_loop() is shared["loop"]

        @pytest.mark.asyncio(loop_scope="module")
        async def test_shared_again(shared): assert asyncio.get_running_loop() is shared["loop"]

        @pytest.mark.asyncio(loop_scope="session")
        async def test_network():
            async def answer(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            async with server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello\\n")
                assert await reader.readline() == b"hello\\n"
                writer.close()

        @pytest.mark.asyncio(loop_scope="session")
        async def test_process():
            process = await asyncio.create_subprocess_exec("true")
            assert await process.wait() == 0

        @pytest.mark.asyncio(loop_scope="session")
        async def test_thread(): assert await asyncio.to_thread(lambda: 1) == 1

        class TestClass:
            @pytest.mark.asyncio(loop_scope="class")
            async def test_one(self): await asyncio.sleep(0)
            @pytest.mark.asyncio(loop_scope="class")
            async def test_two(self): await asyncio.sleep(0)
        """
    ),
    "pytest.ini": "[pytest]\nasyncio_default_fixture_loop_scope = function\n",
}


@pytest.mark.plugins(pytest_asyncio="asyncio")
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_asyncio_loops_of_every_scope(both, mode):
    """Loops of function, class, module and session scope, with fixtures, sockets, processes and
    threads.
    """
    both(LOOPS, f"--asyncio-mode={mode}", tests=9)


@pytest.mark.plugins(pytest_asyncio="asyncio", pytest_xdist="xdist")
def test_asyncio_in_workers(both):
    """The same with `-n 2`."""
    both(LOOPS, "-n2", tests=9)


@pytest.mark.plugins(anyio="anyio", trio=None)
def test_anyio_on_both_backends(both):
    """Tests and fixtures of function and module scope, on asyncio and trio."""
    files = {
        "test_anyio.py": (
            """
            import anyio, pytest
            pytestmark = pytest.mark.anyio
            @pytest.fixture
            async def own():
                await anyio.sleep(0)
                yield 1
                await anyio.sleep(0)
            async def test_sleep(own): await anyio.sleep(0)
            async def test_group(own):
                async with anyio.create_task_group() as group: group.start_soon(anyio.sleep, 0)
            async def test_thread(): assert await anyio.to_thread.run_sync(lambda: 1) == 1
            async def test_fails(): assert 0
            """
        ),
        "test_shared.py": (
            """
            import anyio, pytest
            pytestmark = pytest.mark.anyio
            @pytest.fixture(scope="module")
            def anyio_backend(): return "asyncio"
            @pytest.fixture(scope="module")
            async def shared():
                await anyio.sleep(0)
                yield []
                await anyio.sleep(0)
            async def test_one(shared): shared.append(1); await anyio.sleep(0)
            async def test_two(shared): await anyio.sleep(0)
            """
        ),
    }
    both(files, tests=10)


@pytest.mark.plugins(pytest_trio="trio", trio=None)
def test_trio_runs_tests_and_fixtures(both):
    """Async tests and fixtures, the nursery, the autojump clock."""
    files = {
        "test_trio.py": (
            """
            import pytest, trio
            @pytest.fixture
            async def own():
                await trio.sleep(0)
                yield 1
            @pytest.mark.trio
            async def test_sleep(own): await trio.sleep(0)
            @pytest.mark.trio
            async def test_nursery(nursery): nursery.start_soon(trio.sleep, 0)
            @pytest.mark.trio
            async def test_clock(autojump_clock): await trio.sleep(1000)
            @pytest.mark.trio
            async def test_process(): await trio.run_process(["true"])
            @pytest.mark.trio
            async def test_fails(): assert 0
            """
        )
    }
    both(files, tests=5)


@pytest.mark.plugins(gevent=None)
def test_gevent_patched_works_inside(run):
    """A patched project: greenlets and sockets of a test's own work, and one warning says what of
    shared fixtures does not.
    """
    files = {
        "conftest.py": "from gevent import monkey\nmonkey.patch_all()\n",
        "test_greenlets.py": (
            """
            import socket, threading, time
            import gevent
            def test_spawn(): assert gevent.spawn(lambda: 1).get(timeout=30) == 1
            def test_sleep(): time.sleep(0.01)
            def test_thread():
                found = []
                thread = threading.Thread(target=found.append, args=(1,))
                thread.start()
                thread.join(30)
                assert found == [1]
            """
        ),
    }
    plain = run("plain", files, "--isolate-off")
    isolated = run("isolated", files, "--isolate-all", "--isolate-timeout=30s")
    assert (isolated.status, isolated.cases) == (plain.status, plain.cases)
    assert len(plain.cases) == 3
    assert isolated.count("isolate: gevent has patched threads") == 1


@pytest.mark.plugins(pytest_forked="pytest_forked")
def test_forked_is_warned_of(run):
    """`--forked` beside `--isolate-all` takes the tests over: no hang, and one warning that says
    what to do.
    """
    isolated = run(
        "isolated",
        {"test_one.py": "def test_one(): pass\ndef test_two(): assert 0\n"},
        "--isolate-all",
        "--forked",
    )
    assert (
        isolated.count("isolate: --forked of pytest-forked runs tests in children of its own") == 1
    )
