"""What is small to a test and large to pytest or the machine: frames that become objects, buffers
that nobody counts.
"""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.hostile]

BLOWING = """
import os, struct
from pytest_isolate import isolate
def send(request, payload):
    fd = request.config.pluginmanager.getplugin("isolate-run").side.child._line.writer.fd
    data = memoryview(struct.pack(">I", len(payload)) + payload)
    while data: data = data[os.write(fd, data):]
def begin(kind): return b'{"kind":"' + kind + b'","x":['
@isolate(profile="strict")
def test_objects(request):
    for _ in range(3): send(request, begin(b"warning") + b"{}," * (10 << 20) + b"{}]}")
@isolate(profile="strict")
def test_texts(request):
    for _ in range(3): send(request, begin(b"warning") + b'"\\\\"",' * (6 << 20) + b'""]}')
@isolate(profile="strict")
def test_commas_in_texts(request):
    send(request, b'{"kind":"lost","message":"' + b',[{:\\\\"\\\\\\\\' * (3 << 20) + b'"}')
def test_after(): pass
"""


@pytest.mark.needs("strict")
def test_what_frames_become(pytester, isolated):
    """Thirty megabytes of empty objects are two gigabytes to Python."""
    pytester.makeconftest("""
        import resource
        def pytest_unconfigure(): print("largest:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    """)
    pytester.makepyfile(test_it=BLOWING)
    result = isolated("--isolate-all")
    result.assert_outcomes(passed=2, failed=2, errors=1)
    said = [line for line in result.stdout.lines if line.startswith("E   Crashed: ")]
    assert sum("more than 1000000 values came from one test" in line for line in said) == 2, said
    assert "its process lost a report" in result.stdout.str()
    assert int(re.search(r"largest: (\d+)", result.stdout.str())[1]) < 600


@pytest.mark.needs("memory")
def test_buffers_of_tcp(pytester, isolated, host):
    """Cgroup v1 counts them by themselves, and without a limit: a test with 64 MiB had more than a
    gigabyte there.
    """
    if host.places["memory"].version == 2:
        pytest.skip("cgroup v2 counts them with all other memory")
    pytester.makepyfile("""
        import resource, socket
        def test_it():
            resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1:] * 2)
            with socket.create_server(("127.0.0.1", 0)) as server:
                held, sent = [], 0
                for _ in range(300):
                    one = socket.create_connection(server.getsockname())
                    held += [one, server.accept()[0]]
                    one.setblocking(False)
                    try:
                        while True: sent += one.send(bytes(1 << 20))
                    except BlockingIOError: pass
            used = [int(line.split()[-1]) for line in open("/proc/net/sockstat") if line.startswith("TCP:")][0] * 4096
            print("held by the machine:", used >> 20)
            assert sent > 1 << 20
    """)
    result = isolated("--isolate-all", "--isolate-memory=64M", "-s")
    result.assert_outcomes(passed=1)
    assert int(re.search(r"held by the machine: (\d+)", result.stdout.str())[1]) < 200
