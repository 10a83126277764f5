"""Hooks that end the run."""

import pytest


def pytest_addoption(parser): parser.addoption("--ends")
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and "critical" in item.keywords:
        how = item.config.getoption("--ends")
        if how == "stop":
            item.session.shouldstop = f"{item.name} is critical"
        elif how == "fail":
            item.session.shouldfail = f"{item.name} is critical"
        elif how == "made":
            pytest.exit("made a critical report", returncode=7)
    return report
def pytest_runtest_logreport(report):
    if report.failed and "critical" in report.keywords and CONFIG.getoption("--ends") == "logged":
        pytest.exit("logged a critical report", returncode=8)
def pytest_exception_interact(node, report):
    if "critical" in node.keywords and node.config.getoption("--ends") == "interact":
        node.session.shouldstop = "interacted"
def pytest_runtest_teardown(item):
    if "critical" in item.keywords and item.config.getoption("--ends") == "teardown":
        item.session.shouldstop = "torn down"
def pytest_configure(config):
    global CONFIG
    CONFIG = config
