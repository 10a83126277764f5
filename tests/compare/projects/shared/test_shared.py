import asyncio
import http.server
import os
import socket
import sqlite3
import subprocess
import tempfile
import threading
import urllib.request

import pytest


@pytest.fixture(scope="session")
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.isolate(net=False)
def test_server_socket_is_served_by_the_test_itself(listening, number):
    with socket.create_connection(listening.getsockname(), timeout=10) as client:
        accepted, _ = listening.accept()
        with accepted:
            accepted.sendall(b"hello")
            assert client.recv(5) == b"hello"
@pytest.mark.parametrize("number", [1, 2])
def test_server_socket_of_another_network_namespace(listening, number):
    assert listening.getsockname()[0] == "127.0.0.1"
    assert listening.fileno() > 0
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/captured": return super().do_GET()
        self.send_response(200 if os.fstat(2).st_ino == self.server.captured else 204)
        self.end_headers()
    def log_message(self, *args):
        if self.path != "/captured": super().log_message(*args)
@pytest.fixture(scope="session")
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.captured = os.fstat(2).st_ino
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.isolate(net=False)
def test_server_in_a_thread_of_pytest_serves_while_pytest_waits(web, number):
    while urllib.request.urlopen(web + "captured", timeout=10).status != 200: pass  # pytest comes to listen
    assert b"test_shared.py" in urllib.request.urlopen(web, timeout=10).read()
@pytest.fixture(scope="session")
def process():
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield child
    child.stdin.close()
    assert child.wait(10) == 0
@pytest.mark.parametrize("number", [1, 2])
def test_process_of_pytest_is_spoken_to_by_its_pipes(process, number):
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"hello\n"
def test_no_such_program(process):
    with pytest.raises(FileNotFoundError) as caught:
        subprocess.run(["/no/such/program"])
    assert "pytest_isolate" not in str(caught.getrepr())
@pytest.fixture(scope="session")
def loop():
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    yield loop
    assert loop.run_until_complete(asyncio.sleep(0, "still works")) == "still works"
    loop.close()
async def talk():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    server.close()
    return answer
@pytest.mark.parametrize("number", [1, 2, 3])
def test_event_loop_runs_in_the_copy(loop, number):
    assert loop.run_until_complete(asyncio.wait_for(talk(), 10)) == b"hello\n"
def test_event_loop_runs_processes(loop):
    async def run():
        child = await asyncio.create_subprocess_exec("echo", "said", stdout=asyncio.subprocess.PIPE)
        return (await child.communicate())[0]
    assert loop.run_until_complete(asyncio.wait_for(run(), 10)) == b"said\n"
def test_event_loop_uses_a_thread_of_its_own(loop):
    assert loop.run_until_complete(asyncio.wait_for(loop.run_in_executor(None, lambda: 3), 10)) == 3
@pytest.fixture(scope="session")
def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    connection.execute("insert into t values (1)")
    connection.commit()
    yield connection
    assert connection.execute("select count(*) from t").fetchone() == (1,)
    connection.close()
def test_database_in_memory(database):
    assert database.execute("select x from t").fetchall() == [(1,)]
@pytest.fixture(scope="session")
def file():
    with tempfile.TemporaryFile("w+") as file:
        file.write("by the fixture\n")
        file.flush()
        yield file
@pytest.mark.parametrize("number", [1, 2])
def test_open_file(file, number):
    file.seek(0)
    assert file.readline() == "by the fixture\n"
@pytest.fixture(scope="session")
def lock(): return threading.RLock()
@pytest.mark.parametrize("number", [1, 2])
def test_lock(lock, number):
    assert lock.acquire(timeout=5)
