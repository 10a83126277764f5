import shutil
import socket
from pathlib import Path

from pytest_isolate import isolate


@isolate
def test_port():
    socket.create_server(("127.0.0.1", 8080))  # its own: no other test has it


@isolate(timeout="5s")
def test_disk():
    project = Path(__file__).parent
    shutil.rmtree(project)  # gone in here, untouched on the machine
    assert not project.exists()


@isolate(memory="64M")
def test_memory():
    assert len(bytearray(200_000_000)) == 200_000_000
