"""Hooks that remember are told of a test that its process did not live to tell of."""

import pytest

failed, told = {}, []


def pytest_runtest_makereport(item, call):
    if call.excinfo is not None:
        failed.setdefault(item.cls, item.name)
        told.append(f"made {item.name} {call.when} {call.excinfo.typename}")
def pytest_exception_interact(node, call, report): told.append(f"interact {node.name} {report.when} {call.excinfo.typename}")
def pytest_runtest_logreport(report):
    if report.failed:
        told.append(f"logged {report.nodeid.rpartition('::')[2]} {report.when}")
def pytest_runtest_setup(item):
    if item.cls in failed:
        pytest.xfail(f"{failed[item.cls]} failed before")
def pytest_terminal_summary(terminalreporter):
    for line in told:
        terminalreporter.write_line(line)
