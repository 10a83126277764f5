import pytest
from app import app

from pytest_isolate import MemoryExceeded, isolate


@pytest.fixture
def client():
    return app.test_client()


@isolate(memory="64M")
def test_a_report_of_ten_thousand_rows(client):
    assert client.get("/report/10000").json["sum"] == 49995000


@pytest.mark.xfail(raises=MemoryExceeded, reason="the view builds a list: issue 12", strict=True)
@isolate(memory="64M")
def test_a_report_of_five_million_rows(client):
    client.get("/report/5000000")
