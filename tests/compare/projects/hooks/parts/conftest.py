"""Hooks that are told of subtests."""

import pytest

lines = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    lines.append(f"made {item.name} {call.when} {report.outcome} {call.excinfo and call.excinfo.typename}")
    return report
def pytest_exception_interact(node, call, report): lines.append(f"interact {node.name} {type(report).__name__} {call.excinfo.value}")
def pytest_runtest_logreport(report):
    lines.append(f"logged {report.nodeid} {report.when} {report.outcome} {type(report).__name__} {getattr(report, 'context', None)}")
def pytest_terminal_summary(terminalreporter):
    for line in lines:
        terminalreporter.write_line(line)
