"""Servers that shared fixtures started answer isolated tests at their own address, and nothing else
of the machine does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from running import PYTEST, Started

pytestmark = pytest.mark.kernel

#: A server that says hello, then back what it hears until it hears no more: with a host and a port,
#: a path or @NAME.
SERVE = """
import os, socket, socketserver, sys

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello")
        while data := self.request.recv(1 << 16): self.request.sendall(data)

class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 4096
    def __init__(self, address):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Echo)

class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 4096

def server(where):
    return Tcp(where) if isinstance(where, tuple) else Unix(where.replace("@", "\\0", 1), Echo)

def talk(where, said=b"", family=None):
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(where.replace("@", "\\0", 1) if isinstance(where, str) else where)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))

if __name__ == "__main__":
    kind, where = sys.argv[1:]
    if kind == "child" and os.fork(): os.wait()
    elif kind == "daemon" and os.fork(): os._exit(0)
    else:
        if kind == "daemon": os.setsid()
        with server((where, 0) if where[0] not in "/@" else where) as serving:
            print(repr(serving.server_address[:2] if where[0] not in "/@" else where), os.getpid(), flush=True)
            if kind == "daemon": os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            serving.serve_forever()
"""
FIXTURES = """
import ast, os, signal, subprocess, sys, tempfile, threading
from pathlib import Path
import pytest
from serve import server, talk

def in_thread(where):
    with server(where) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_address[:2] if isinstance(where, tuple) else where
        serving.shutdown()

def in_process(kind, where):
    with subprocess.Popen([sys.executable, "serve.py", kind, where], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        place, _, pid = process.stdout.readline().strip().rpartition(" ")
        yield ast.literal_eval(place)
        os.kill(int(pid), signal.SIGTERM)
"""


@pytest.fixture
def project(pytester):
    """A module of tests with the servers above at hand."""
    pytester.makepyfile(serve=SERVE)

    def project(source: str, conftest: str = "") -> None:
        pytester.makepyfile(test_it=FIXTURES + source)
        if conftest:
            pytester.makeconftest(conftest)

    return project


TCP = """
@pytest.fixture(scope="session", params=["127.0.0.1", "127.0.0.7", "0.0.0.0", "::1", "::"])
def host(request): return request.param
@pytest.fixture(scope="session", params=["thread", "process", "child", "daemon"])
def place(request, host):
    yield from in_thread((host, 0)) if request.param == "thread" else in_process(request.param, host)

@pytest.mark.parametrize("turn", range(2))
def test_talk(place, turn): assert talk(place, b"you") == b"helloyou"
def test_from_a_sub_process(place):
    code = f"import serve; assert serve.talk({place!r}, b'x') == b'hellox'"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_tcp_servers_of_threads_processes_their_children_and_daemons_answer(project, isolated):
    """At loopback's addresses and at every address, of both families."""
    project(TCP)
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=60)


UNIX = """
@pytest.fixture(scope="session", params=["thread", "process"])
def place(request):
    with tempfile.TemporaryDirectory() as directory:
        real = Path(directory, "real")
        real.mkdir()
        real.with_name("link").symlink_to(real)
        path = f"{directory}/link/socket"
        yield from in_thread(path) if request.param == "thread" else in_process("process", path)
@pytest.fixture(scope="module")
def relative():
    yield from in_thread("below")
    os.unlink("below")

def test_path(place): assert talk(place, b"you") == b"helloyou"
def test_from_a_sub_process(place):
    code = f"import serve; assert serve.talk({place!r}, b'x') == b'hellox'"
    subprocess.run([sys.executable, "-c", code], check=True)
def test_changes(place):
    change = lambda: pytest.raises(OSError, match="Read-only|not permitted")
    with change(): os.chmod(place, 0)
    with change(): os.utime(place)
    with change(): os.chown(place, os.getuid(), os.getgid())
def test_after(place): assert talk(place, b"you") == b"helloyou"
def test_relative(relative): assert talk("below") == talk(os.path.abspath("below")) == b"hello"
"""


@pytest.mark.parametrize("fs", ["overlay", "readonly", "host"])
def test_unix_sockets_answer_at_their_paths(project, isolated, fs):
    """Also through links, and whatever the file system is."""
    project(UNIX)
    isolated("--isolate-all", f"--isolate-fs={fs}", "--isolate-timeout=20").assert_outcomes(
        passed=9
    )


UDP = """
import socket
def echo(sock):
    while True:
        data, address = sock.recvfrom(1 << 16)
        if data == b"stop": return
        sock.sendto(data, address)
@pytest.fixture(scope="session", params=["127.0.0.1", "127.0.0.7", "0.0.0.0", "::1", "::"])
def place(request):
    with socket.socket(socket.AF_INET6 if ":" in request.param else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((request.param, 0))
        thread = threading.Thread(target=echo, args=(sock,))
        thread.start()
        yield sock.family, sock.getsockname()[:2]
        sock.sendto(b"stop", sock.getsockname())
        thread.join()

@pytest.mark.parametrize("connected", [True, False])
def test_talk(place, connected):
    family, (host, port) = place
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    for _ in range(3):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            if connected: sock.connect((host, port))
            for text in (b"one", b"", b"x" * 40000):
                sock.send(text) if connected else sock.sendto(text, (host, port))
                data, address = sock.recvfrom(1 << 16)
                assert data == text and address[:2] == (host, port)
"""


def test_datagrams_are_answered_from_the_address_they_were_sent_to(project, isolated):
    """With a socket that is connected and one that is not, also where the server waits at every
    address.
    """
    project(UDP)
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=10)


def test_abstract_unix_sockets_answer(project, isolated):
    """Which belong to a network, as ports do."""
    project("""
@pytest.fixture(scope="session", params=["thread", "process"])
def place(request):
    name = f"@isolate-{os.getpid()}-{request.param}"
    yield from in_thread(name) if request.param == "thread" else in_process("process", name)
def test_talk(place): assert talk(place, b"you") == b"helloyou"
""")
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=2)


OTHERS = """
from pytest_isolate import isolate
HOST, PORT, OWN, PATH = os.environ["HOST"], int(os.environ["PORT"]), os.environ["OWN"], os.environ["SOCKET"]

@isolate(forward=[PORT])
def test_port():
    assert talk(("127.0.0.1", PORT)) == b"hello"
    with pytest.raises(ConnectionRefusedError): talk(("127.0.0.1", int(os.environ["OTHER"])))
@isolate(forward=[f"{HOST}:{PORT}"])
def test_name(): assert talk((HOST, PORT)) == talk(("127.0.0.1", PORT)) == b"hello"
@isolate(forward=[f"{OWN}:{os.environ['OTHER']}"])
def test_address(): assert talk((OWN, int(os.environ["OTHER"]))) == b"hello"
@isolate(forward=[f"named.invalid:{os.environ['OTHER']}"])
def test_name_of_an_address():
    assert talk(("named.invalid", int(os.environ["OTHER"]))) == b"hello"
@isolate(forward=[PATH, "@" + PATH])
def test_paths(): assert talk(PATH) == talk("@" + PATH) == b"hello"
@isolate
def test_none():
    for place in [("127.0.0.1", PORT), PATH, "@" + PATH]:
        with pytest.raises(ConnectionRefusedError): talk(place)
@pytest.fixture(scope="session")
def place(): yield from in_thread(("::1", 0))
@isolate(forward=[PORT])
def test_fixtures_too(place): assert talk(place) == talk(("127.0.0.1", PORT)) == b"hello"
"""
#: in a network and with an /etc/hosts of its own: what the machine has by other addresses and names
WITHIN = """
import os, socket, subprocess, sys, tempfile, threading
sys.path.insert(0, os.getcwd())
from serve import server
environment = os.environ
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "socket")
    servers = [server(where) for where in (("127.0.0.1", 0), ("192.0.2.7", 0), path, "@" + path)]
    for each in servers: threading.Thread(target=each.serve_forever, daemon=True).start()
    environment |= {"HOST": "localhost", "PORT": str(servers[0].server_address[1]), "OWN": "192.0.2.7",
                    "OTHER": str(servers[1].server_address[1]), "SOCKET": path}
    sys.exit(subprocess.call(sys.argv[1:]))
"""


@pytest.mark.needs("root")
def test_others_are_reached_where_they_are_named(pytester, project):
    """By port, host and port, address, name and path; nothing else of the machine answers."""
    project(OTHERS)
    pytester.makepyfile(within=WITHIN)
    hosts = pytester.path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n192.0.2.7 named.invalid\n")
    script = (
        f"mount --bind {hosts} /etc/hosts && ip link set lo up && ip address add 192.0.2.7/32 dev"
        ' lo && exec "$@"'
    )
    command = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, "within.py",
               *PYTEST, "--isolate-timeout=20"]  # fmt: skip
    pytester.run(*command, timeout=60).assert_outcomes(passed=7)


def test_a_forward_to_nobody_is_one_sentence_at_the_marker(project, isolated):
    """And the other tests run."""
    project("""
from pytest_isolate import isolate
@isolate(forward=[1])
def test_port(): pass
@isolate(forward=["localhost:1"])
def test_host(): pass
@isolate(forward=["1/udp"])
def test_udp(): pass
@isolate(forward=["no.such.host.invalid:1"])
def test_name(): pass
@isolate(forward=["/no/such"])
def test_path(): pass
@isolate(forward=["/etc/passwd"])
def test_no_socket(): pass
@isolate(forward=["@no such"])
def test_abstract(): pass
@isolate
def test_runs(): pass
""")
    result = isolated()
    result.assert_outcomes(errors=7, passed=1)
    for name, said in (
        ("port", "nobody listens at port 1 of this machine"),
        ("host", "nobody listens at port 1 of localhost on this machine"),
        ("udp", "nobody listens at UDP port 1 of this machine"),
        ("name", "this machine knows no host 'no.such.host.invalid': *"),
        ("path", "there is no socket /no/such on this machine: No such file or directory"),
        ("no_socket", "/etc/passwd is no socket"),
        ("abstract", "nobody listens at the abstract socket @no such"),
    ):  # fmt: skip
        result.stdout.fnmatch_lines_random(
            f"isolate: forward=[[]'*'] (by @isolate on function *::test_{name}): {said}"
        )


def test_a_port_that_a_test_binds_itself_is_its_own(project, isolated):
    """TCP and UDP; the server answers the next test.

    As the test's own, its sub-processes reach it too.
    """
    project("""
import socket
@pytest.fixture(scope="session")
def place(): yield from in_thread(("127.0.0.1", 0))
@pytest.fixture(scope="session")
def datagrams():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_own(place, host):
    assert talk(place) == b"hello"
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if host == "::" else {}
    with socket.create_server((host, place[1]), **both) as own:
        with socket.create_connection(place) as client:
            own.accept()[0].send(b"mine")
            assert client.recv(10) == b"mine"
        with pytest.raises(OSError): socket.create_server(place)
def test_own_datagrams(datagrams):
    with socket.socket(type=socket.SOCK_DGRAM) as own, socket.socket(type=socket.SOCK_DGRAM) as client:
        own.bind(datagrams)
        client.sendto(b"x", datagrams)
        assert own.recv(10) == b"x"
def test_the_others(place): assert talk(place) == b"hello"
def test_nonsense(place):
    for message in (b"", b"1", b"1:99999999999", b"x" * 1000, b"1:%d" % (place[1] + 1)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as relay: relay.sendto(message, "\\0pytest-isolate-relay")
    assert talk(place) == b"hello"
""")
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=6)


DATABASES = """
import glob, shutil, socket, time
BIN = (glob.glob("/usr/lib/postgresql/*/bin") or ["/none"])[-1]
AS = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server: return server.getsockname()[1]
def run(*command): return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout.strip()

@pytest.fixture(scope="session")
def directory():
    with tempfile.TemporaryDirectory() as directory:
        if AS: shutil.chown(directory, "postgres", "postgres")
        yield directory
@pytest.fixture(scope="session")
def postgres(directory):
    port = free_port()
    run(*AS, f"{BIN}/initdb", "-D", f"{directory}/data", "-U", "test", "-A", "trust", "--no-sync")
    options = f"-k {directory} -p {port} -c listen_addresses=localhost -c fsync=off"
    run(*AS, f"{BIN}/pg_ctl", "-D", f"{directory}/data", "-w", "-o", options, "-l", f"{directory}/log", "start")
    yield directory, port
    run(*AS, f"{BIN}/pg_ctl", "-D", f"{directory}/data", "-m", "immediate", "stop")
@pytest.fixture(scope="session", params=["no", "yes"])
def redis(request, tmp_path_factory):
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", f"{directory}/s", "--save", "",
                   "--daemonize", request.param, "--dir", directory]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/") as process:
            ping = ["redis-cli", "-s", f"{directory}/s", "ping"]
            while subprocess.run(ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode: time.sleep(0.02)
            yield directory, port
            subprocess.run(["redis-cli", "-s", f"{directory}/s", "shutdown", "nosave"])

@pytest.mark.parametrize("by", ["tcp", "socket"])
def test_postgres(postgres, by):
    directory, port = postgres
    psql = ["psql", "-h", "localhost" if by == "tcp" else directory, "-p", str(port), "-U", "test", "-d", "postgres", "-Atc"]
    run(*psql, "create table if not exists t (n int)")
    assert run(*psql, "insert into t select generate_series(1, 1000); select sum(n) > 500000 from t").endswith("t")
@pytest.mark.parametrize("by", ["tcp", "socket"])
def test_redis(redis, by):
    directory, port = redis
    place = ["-p", str(port)] if by == "tcp" else ["-s", f"{directory}/s"]
    assert run("redis-cli", *place, "set", by, "x" * 10000) == "OK"
    assert run("redis-cli", *place, "get", by) == "x" * 10000
"""


@pytest.mark.dear
@pytest.mark.needs("databases")
def test_postgresql_and_redis_of_session_fixtures_answer_their_own_clients(project, isolated):
    """By TCP and by Unix socket; one started by pg_ctl, which leaves pytest, as another user where
    pytest is root.
    """
    project(DATABASES)
    isolated("--isolate-all", "--isolate-timeout=30").assert_outcomes(passed=6)


def test_the_report_tells_which_server_a_test_used(project, isolated, pytester):
    """Its place, who it is, the fixture, connections and bytes; tests of one sandbox have each
    their own; a failing one's section too.
    """
    project("""
@pytest.fixture(scope="session")
def place(): yield from in_process("process", "127.0.0.1")
@pytest.fixture(scope="session")
def path():
    with tempfile.TemporaryDirectory() as directory: yield from in_thread(f"{directory}/socket")
def test_uses(place, path):
    assert talk(place, b"you") == talk(place) + b"you"
    talk(path)
def test_fails(place):
    assert talk(place) == b"bye"
def test_does_not(place): pass
""")
    for scope in ("function", "module"):
        result = isolated(
            "--isolate-all", "--isolate-report=report.json", f"--isolate-scope={scope}"
        )
        result.assert_outcomes(passed=2, failed=1)
        tests = json.loads((pytester.path / "report.json").read_text())["tests"]
        used, failed, not_used = (test["network"]["servers"] for test in tests)
        server = next(each for each in used if each["kind"] == "tcp")
        assert (
            server["fixture"],
            server["connections"],
            server["sent_bytes"],
            server["received_bytes"],
        ) == ("place", 2, 3, 13)
        assert "python" in server["process"]
        path = next(each for each in used if each["kind"] == "unix")
        assert (path["fixture"], path["connections"]) == ("path", None)
        assert [each["connections"] for each in failed if each["kind"] == "tcp"] == [1]
        assert [each["connections"] for each in not_used if each["kind"] == "tcp"] == [0]
        result.stdout.fnmatch_lines(
            "server: 127.0.0.1:* of process * (python*), started by the fixture 'place': 1"
            " connection, 0 B to it, 5 B back"
        )


def test_a_refused_connection_names_who_has_the_port_and_what_to_write(
    project, isolated, monkeypatch
):
    """For Python, for what a library or a sub-process said, for Unix sockets, and for a client that
    tries until its time is over.
    """
    directory = tempfile.mkdtemp()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"{directory}/socket")
        unix.listen()
        monkeypatch.setenv("PORT", port := str(server.getsockname()[1]))
        monkeypatch.setenv("SOCKET", f"{directory}/socket")
        project("""
import socket, time
from pytest_isolate import isolate
PORT, PATH = int(os.environ["PORT"]), os.environ["SOCKET"]
def test_python(): socket.create_connection(("127.0.0.1", PORT))
def test_library(): pytest.fail(f'connection to server at "localhost" (127.0.0.1), port {PORT} failed: Connection refused')
def test_program(): subprocess.run(["bash", "-c", f"echo > /dev/tcp/127.0.0.1/{PORT}"], check=True)
def test_unix(): talk(PATH)
def test_library_unix(): pytest.fail(f'connection to server on socket "{PATH}" failed: No such file or directory')
@isolate(timeout=2)
def test_tries():
    while True:
        try: socket.create_connection(("127.0.0.1", PORT))
        except ConnectionRefusedError: time.sleep(0.01)
def test_nobody(): socket.create_connection(("127.0.0.1", 1))
@isolate(forward=None)
def test_of_a_fixture(place): talk(place)
@pytest.fixture(scope="session")
def place(): yield from in_thread(("127.0.0.1", 0))
""")
        result = isolated("--isolate-all", "-rN", "--tb=short")
    result.assert_outcomes(failed=8)
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    lines = [line for line in result.outlines if line.startswith("network: ")]
    here = f"process {os.getpid()} ({name})"
    has_port = (
        f"network: a connection to port {port} of localhost was refused: {here} has it on the"
        " machine, and a sandbox has a localhost"
    )
    has_path = (
        f"network: at the socket {directory}/socket {here} listens on the machine;"
        f' forward=["{directory}/socket"] reaches that server'
    )
    assert [line[: len(has_port)] for line in lines].count(has_port) == 4
    assert (
        f"forward=[{port}] reaches that server, net='host' shares the machine's network" in lines[0]
    )
    assert lines.count(has_path) == 2
    assert (
        len(
            [
                line
                for line in lines
                if "port 1 of localhost was refused: nobody listens there" in line
            ]
        )
        == 1
    )
    assert (
        len(
            [
                line
                for line in lines
                if "pytest itself, by the shared fixture 'place', has it on the machine" in line
            ]
        )
        == 1
    )
    shutil.rmtree(directory)


def test_a_manager_of_multiprocessing_answers(project, isolated):
    """With its own messages over a Unix socket of its own process."""
    project("""
import multiprocessing
@pytest.fixture(scope="session")
def manager():
    with multiprocessing.Manager() as manager: yield manager
@pytest.mark.parametrize("turn", range(2))
def test_shared(manager, turn):
    shared = manager.dict(a=turn)
    assert dict(shared) == {"a": turn}
""")
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=2)


def test_what_was_there_before_the_run_does_not_answer(project, isolated, monkeypatch):
    """A server of the machine is no fixture's: it is refused as before."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PORT", str(server.getsockname()[1]))
        project("""
@pytest.fixture(scope="session")
def place(): yield from in_thread(("127.0.0.1", 0))
def test_refused(place):
    assert talk(place) == b"hello"
    with pytest.raises(ConnectionRefusedError): talk(("127.0.0.1", int(os.environ["PORT"])))
""")
        isolated("--isolate-all").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "options", [["--isolate-forward=none"], ["--isolate-fixtures=fresh"]], ids=str
)
def test_servers_that_nobody_asked_for_do_not_answer(project, isolated, options):
    """With ``None`` none does; fixtures that are set up fresh have their own, and the shared ones'
    ports are free for them.
    """
    project("""
@pytest.fixture(scope="session", autouse=True)
def place():
    pid = os.getpid()
    for place in in_thread(("127.0.0.1", 0)): yield pid, place
def test_it(place):
    pid, where = place
    if pid == os.getpid(): assert talk(where) == b"hello"
    else:
        with pytest.raises(ConnectionRefusedError): talk(where)
""")
    isolated("--isolate-all", *options).assert_outcomes(passed=1)


def test_none_and_fresh_by_the_marker(project, isolated):
    """The marker's None is a value: it does not take the keyword back to its default.

    A fixture named as fresh has its port to itself.
    """
    project("""
from pytest_isolate import isolate
@pytest.fixture(scope="session")
def port(): return 18081
@pytest.fixture(scope="session")
def place(port): yield from in_thread(("127.0.0.1", port))
def test_shared(place): assert talk(place) == b"hello"
@isolate(forward=None)
def test_none(place):
    with pytest.raises(ConnectionRefusedError): talk(place)
@isolate(fixtures=["place"])
def test_named(place): assert talk(place) == b"hello"
@isolate(forward="fixtures")
def test_again(place): assert talk(place) == b"hello"
""")
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=4)


def test_servers_come_and_go_with_their_fixtures(project, isolated):
    """One of a class answers the class's tests and is refused behind it; one that begins late
    answers from then on.
    """
    project("""
class TestClass:
    @pytest.fixture(scope="class")
    def place(self): yield from in_thread(("127.0.0.1", 18082))
    def test_there(self, place): assert talk(place) == b"hello"
    def test_there_again(self, place): assert talk(place) == b"hello"

@pytest.fixture(scope="session")
def late(tmp_path_factory):
    go = tmp_path_factory.mktemp("late") / "go"
    os.mkfifo(go)
    code = f"import serve; open({str(go)!r}).read(); s = serve.server(('127.0.0.1', 18083)); print('ready', flush=True); s.serve_forever()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        yield go, process
        process.kill()

def test_gone(late):
    for port in (18082, 18083):
        with pytest.raises(ConnectionRefusedError): talk(("127.0.0.1", port))
@pytest.fixture(scope="module")
def begun(late):
    late[0].write_text("go")
    late[1].stdout.readline()
def test_late(begun): assert talk(("127.0.0.1", 18083)) == b"hello"
""")
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=4)


def test_a_rehearsal_tears_down_nothing_of_pytests(project, isolated):
    """A hook for set-ups makes the first child a rehearsal: it comes to the fixture of another
    parameter, and pytest tears that down.
    """
    project(
        """
@pytest.fixture(scope="session", params=[1, 2])
def place(request): yield from in_thread(("127.0.0.1", 0))
@pytest.mark.parametrize("turn", range(2))
def test_talk(place, turn): assert talk(place) == b"hello"
""",
        conftest="def pytest_runtest_setup(item): pass",
    )
    isolated("--isolate-all", "--isolate-timeout=20").assert_outcomes(passed=4)


FLOODS = """
import hashlib, socket
@pytest.fixture(scope="session")
def place(): yield from in_process("process", "127.0.0.1")
@pytest.fixture(scope="session")
def sink():
    code = (
        "import socket, hashlib; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\\nwhile True:\\n"
        " c, _ = s.accept(); h = hashlib.sha256()\\n while d := c.recv(1 << 20): h.update(d)\\n c.sendall(h.digest()); c.close()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        yield "127.0.0.1", int(process.stdout.readline())
        process.kill()

def test_half_closed(sink):
    data = os.urandom(1 << 20) * 100
    with socket.create_connection(sink) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == hashlib.sha256(data).digest()
        assert client.recv(1) == b""
def test_both_ways_at_once(place):
    data = os.urandom(1 << 20) * 20
    with socket.create_connection(place) as client:
        writer = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        writer.start()
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")) == b"hello" + data
        writer.join()
def test_flood(place):
    clients = [socket.create_connection(place) for _ in range(1500)]
    for client in clients[:1000]: assert client.recv(5) == b"hello"
    for client in clients: client.close()
    assert talk(place, b"still") == b"hellostill"
def test_leaves_a_thousand_open(place):
    socket.socket.keep = [socket.create_connection(place) for _ in range(1000)]
    for client in socket.socket.keep: client.send(b"x" * 1000)
def test_after_it(place): assert talk(place, b"you") == b"helloyou"
def test_resets(place):
    import struct
    for _ in range(200):
        client = socket.create_connection(place)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert talk(place, b"you") == b"helloyou"
"""


@pytest.mark.dear
def test_floods_half_closes_and_resets_are_carried_and_hold_nobody_up(project, isolated):
    """What one test does with its connections is no other's trouble; every byte comes, in both
    directions.
    """
    project(FLOODS)
    isolated("--isolate-all", "--isolate-timeout=60").assert_outcomes(passed=6)


@pytest.mark.parametrize(
    "options", [["--isolate-jobs=3"], ["-n2"], ["--isolate-scope=module"]], ids=str
)
def test_with_several_in_flight_under_xdist_and_in_one_sandbox(project, isolated, options):
    """All of them reach the servers."""
    project("""
@pytest.fixture(scope="session")
def place(): yield from in_thread(("127.0.0.1", 0))
@pytest.fixture(scope="session")
def path():
    with tempfile.TemporaryDirectory() as directory: yield from in_process("process", f"{directory}/socket")
@pytest.mark.parametrize("turn", range(6))
def test_talk(place, path, turn): assert talk(place, b"you") == talk(path, b"you") == b"helloyou"
""")
    isolated("--isolate-all", "--isolate-timeout=30", *options).assert_outcomes(passed=6)


HOLDS = """
import socketserver, threading
import pytest
@pytest.fixture(scope="session")
def place():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.StreamRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address
def test_it(place):
    import socket, time
    client = socket.create_connection(place)
    with open("started", "w") as started: started.write("x")
    time.sleep(60)
"""


def test_nothing_is_left_of_a_pytest_that_is_killed(tmp_path):
    """The relay is one more process of the run, and ends with it."""
    run = Started(tmp_path / "it", HOLDS)
    run.wait_for_test()
    assert any(b"_forward.relay" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in run.pids())
    os.kill(run.process.pid, signal.SIGKILL)
    assert run.gone_within(20), run.alive()
    run.end()
