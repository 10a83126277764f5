"""Servers that session fixtures started, used by the clients that applications use: with no
configuration but ``--isolate-all``.
"""

from __future__ import annotations

import pytest

CONFTEST = """
    import asyncio, contextlib, glob, multiprocessing.managers, os, shutil, socket, subprocess, tempfile, threading, time
    import psycopg, pytest, redis

    BIN = (glob.glob("/usr/lib/postgresql/*/bin") or ["/none"])[-1]
    AS = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

    def free_port():
        with socket.create_server(("127.0.0.1", 0)) as server: return server.getsockname()[1]
    def run(*command): subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    @pytest.fixture(scope="session")
    def postgres():
        with tempfile.TemporaryDirectory() as directory:
            if AS: shutil.chown(directory, "postgres", "postgres")
            port = free_port()
            run(*AS, f"{BIN}/initdb", "-D", f"{directory}/data", "-U", "test", "-A", "trust", "--no-sync")
            options = f"-k {directory} -p {port} -c listen_addresses=localhost -c fsync=off"
            run(*AS, f"{BIN}/pg_ctl", "-D", f"{directory}/data", "-w", "-o", options, "-l", f"{directory}/log", "start")
            with psycopg.connect(f"host={directory} port={port} user=test dbname=postgres", autocommit=True) as connection:
                connection.execute("create table pets (name text primary key)")
                connection.execute("insert into pets values ('rex')")
            yield directory, port
            run(*AS, f"{BIN}/pg_ctl", "-D", f"{directory}/data", "-m", "immediate", "stop")

    @pytest.fixture(scope="session")
    def redis_server():
        with tempfile.TemporaryDirectory() as directory:
            port = free_port()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", f"{directory}/s", "--save", "",
                       "--dir", directory]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/") as process:
                until = time.monotonic() + 60
                with redis.Redis(port=port) as client:
                    while True:
                        try:
                            client.set("greeting", "hello")
                            break
                        except redis.ConnectionError:
                            assert time.monotonic() < until and process.poll() is None
                yield directory, port
                process.terminate()

    @pytest.fixture(scope="session")
    def echo():
        # an asyncio server in a thread of pytest
        loop, started = asyncio.new_event_loop(), threading.Event()
        async def answer(reader, writer):
            writer.write(b"echo " + await reader.readline())
            await writer.drain()
            writer.close()
        async def serve():
            loop.server = await asyncio.start_server(answer, "127.0.0.1", 0)
            started.set()
            async with loop.server:
                with contextlib.suppress(asyncio.CancelledError): await loop.server.serve_forever()
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        started.wait()
        yield loop.server.sockets[0].getsockname()
        loop.call_soon_threadsafe(loop.server.close)
        thread.join()
        loop.close()

    @pytest.fixture(scope="session")
    def manager():
        with multiprocessing.managers.SyncManager() as made: yield made
    @pytest.fixture(scope="session")
    def shared(manager):
        yield (made := manager.dict(count=0))
        assert made.copy() == {"count": 0, 1: "was here", 2: "was here"}
"""
TESTS = """
    import asyncio, json, urllib.request
    import psycopg, pytest, redis, sqlalchemy

    @pytest.mark.parametrize("by", ["tcp", "socket"])
    def test_psycopg(postgres, by):
        directory, port = postgres
        host = "localhost" if by == "tcp" else directory
        with psycopg.connect(f"host={host} port={port} user=test dbname=postgres") as connection:
            assert connection.execute("select name from pets").fetchall() == [("rex",)]
            connection.rollback()
    @pytest.mark.parametrize("turn", range(3))
    def test_sqlalchemy(postgres, turn):
        engine = sqlalchemy.create_engine(f"postgresql+psycopg://test@localhost:{postgres[1]}/postgres")
        with engine.begin() as connection:
            assert connection.execute(sqlalchemy.text("select count(*) from pets")).scalar() == 1
    def test_wrong_sql(postgres):
        with psycopg.connect(f"host=localhost port={postgres[1]} user=test dbname=postgres") as connection:
            connection.execute("select nothing from nowhere")
    @pytest.mark.parametrize("by", ["tcp", "socket"])
    def test_redis(redis_server, by):
        directory, port = redis_server
        client = redis.Redis(port=port) if by == "tcp" else redis.Redis(unix_socket_path=f"{directory}/s")
        with client:
            assert client.get("greeting") == b"hello"
            with client.pipeline() as pipeline: assert pipeline.set(by, "x").get(by).delete(by).execute() == [True, b"x", 1]
    def test_subscribe(redis_server):
        with redis.Redis(port=redis_server[1], decode_responses=True) as client, client.pubsub() as listener:
            listener.subscribe("news")
            assert listener.get_message(timeout=30)["type"] == "subscribe"
            client.publish("news", "it rains")
            assert listener.get_message(timeout=30)["data"] == "it rains"
    @pytest.mark.parametrize("turn", range(2))
    def test_httpserver(httpserver, turn):
        httpserver.expect_request("/pets").respond_with_json({"name": "rex"})
        answer = urllib.request.urlopen(httpserver.url_for("/pets"), timeout=30)
        assert json.load(answer) == {"name": "rex"}
    def test_asyncio(echo):
        async def talk():
            reader, writer = await asyncio.open_connection(*echo)
            writer.write(b"hello\\n")
            return await reader.read()
        assert asyncio.run(talk()) == b"echo hello\\n"
    @pytest.mark.parametrize("turn", [1, 2])
    def test_manager(shared, turn):
        # in whatever order, for there may be jobs
        assert shared["count"] == 0
        shared[turn] = "was here"
"""


@pytest.mark.plugins(
    psycopg=None, SQLAlchemy=None, redis=None, pytest_httpserver="pytest_httpserver"
)
@pytest.mark.needs("databases")
@pytest.mark.parametrize("args", [(), ("--isolate-jobs=2",)], ids=["", "jobs"])
def test_servers_of_session_fixtures(both, args):
    """PostgreSQL and redis by TCP and Unix sockets, HTTP, asyncio and a manager of multiprocessing
    are reached as they are in a plain run.

    By psycopg, SQLAlchemy and redis-py, as root and, in tox -e user, as an ordinary user.
    """
    both({"conftest.py": CONFTEST, "test_it.py": TESTS}, *args, tests=14)
