"""A protocol of the conftest's own, as plugins of reruns have it."""

import pytest
from _pytest.runner import runtestprotocol


def pytest_runtest_protocol(item, nextitem):
    if item.get_closest_marker("retries") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, 4):
        if attempt > 1:
            item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if all(report.passed for report in reports):
            break
    for report in reports:
        report.sections.append(("attempts", str(attempt)))
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
logged = []
def pytest_runtest_logreport(report): logged.append((report.nodeid.rpartition("::")[2], report.when, report.outcome))
def pytest_terminal_summary(terminalreporter): terminalreporter.write_line(f"logged: {logged}")
@pytest.fixture(scope="session")
def wide(): return []
