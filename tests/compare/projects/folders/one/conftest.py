import pytest


@pytest.fixture(scope="package")
def place(place): return [*place, "one"]
def pytest_runtest_setup(item): print("one sets up", item.name)
def pytest_runtest_teardown(item): print("one tears down", item.name)
