import socket
import subprocess

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from pytest_isolate import isolate

PATIENT = Retry(ConstantBackoff(0.05), 100)


def start(directory, port=6379):
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", directory]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def port(tmp_path_factory):
    """One server for the run, which isolated tests reach at its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with start(tmp_path_factory.mktemp("redis"), port) as process:
        redis.Redis(port=port, retry=PATIENT).ping()
        yield port
        process.terminate()


@isolate
def test_with_the_server_of_the_run(port):
    client = redis.Redis(port=port)
    client.set("key", "value")
    assert client.get("key") == b"value"


@isolate
@pytest.mark.parametrize("number", range(3))
def test_with_a_server_of_its_own(number, tmp_path):
    with start(tmp_path) as process:  # on the usual port: it is this test's alone
        assert redis.Redis(retry=PATIENT).incr("tests") == 1
        process.terminate()
