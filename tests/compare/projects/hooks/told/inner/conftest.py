"""The conftest of a folder is told of the tests of its folder only."""

import pytest

told = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    told.append(f"made {item.name} {call.when} {report.outcome}")
    return report
def pytest_runtest_logreport(report): told.append(f"logged {report.nodeid.rpartition('::')[2]} {report.when}")
def pytest_exception_interact(node, call): told.append(f"interact {node.name} {call.excinfo.typename}")
def pytest_runtest_logstart(nodeid): told.append(f"start {nodeid.rpartition('::')[2]}")
def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"inner: {told}")
