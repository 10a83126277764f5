"""Reporting hooks with errors of their own, and one that needs what only the test's process has."""

import pytest


def pytest_addoption(parser): parser.addoption("--breaks")
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    how = item.config.getoption("--breaks")
    if how == "made" and report.failed:
        raise LookupError("broken makereport")
    if how == "fixture" and report.failed:
        report.sections.append(("screen", item.funcargs["screen"].shot()))
    return report
def pytest_exception_interact(node):
    if node.config.getoption("--breaks") == "interact":
        raise LookupError("broken interact")
def pytest_runtest_logstart(): pass
def pytest_configure(config):
    class Reporter:
        def pytest_runtest_logreport(self, report):
            if config.getoption("--breaks") == "logged" and report.failed:
                raise LookupError("broken logreport")
    config.pluginmanager.register(Reporter())
class Screen:
    def shot(self): return "a picture"
@pytest.fixture
def screen(): return Screen()
