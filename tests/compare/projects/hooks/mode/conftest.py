"""A set-up hook makes what fixtures of every scope need, asks for fixtures, and tells them something of the test."""

import os

import pytest


def pytest_runtest_setup(item):
    os.environ["MODE"] = next((mark.args[0] for mark in item.iter_markers("mode")), "none")
    item.config.current = item.name
    item.session.wanted = [*getattr(item.session, "wanted", []), item.name]
    if item.name == "test_asked_by_the_hook":
        item.fixturenames.append("asked")
def pytest_runtest_teardown(item): os.environ.pop("MODE")
@pytest.fixture(scope="session")
def wide(request): return os.environ["MODE"], request.config.current
@pytest.fixture(scope="module")
def asked(request): print("asked for", request.config.current)
