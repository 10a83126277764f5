import threading

import httpx
import pytest
import uvicorn
from app import app
from fastapi.testclient import TestClient

from pytest_isolate import isolate


@pytest.fixture(scope="session")
def server():
    """The real server, once for the run: isolated tests reach it at its address."""
    config = uvicorn.Config(app, port=0, log_level="error")
    serving = uvicorn.Server(config)
    sock = config.bind_socket()
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [sock]})
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving.should_exit = True
    thread.join()


@isolate(user="root")
def test_an_upload_writes_to_var_lib():
    client = TestClient(app)
    assert client.post("/uploads", files={"file": b"hello"}).json() == {"size": 5}
    assert client.get("/uploads/latest").json() == {"text": "hello"}


@isolate
def test_and_the_next_test_does_not_see_it():
    assert TestClient(app).get("/uploads/latest").json() == {"text": None}


@isolate(timeout="10s")
def test_the_server_of_a_session_fixture(server):
    assert httpx.get(f"{server}/uploads/latest").json() == {"text": None}
