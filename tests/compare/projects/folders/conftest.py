import pytest


@pytest.fixture(scope="session")
def place(): return ["top"]
def pytest_runtest_logreport(report):
    if report.when == "call":
        print("top saw", report.nodeid, report.outcome)
