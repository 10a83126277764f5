import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    print(f"\nmade {report.nodeid} {report.when} {report.outcome}")
    return report
def pytest_runtest_logstart(nodeid): print(f"\nstart {nodeid}")
def pytest_runtest_logreport(report): print(f"\nreport {report.nodeid} {report.when}")
def pytest_runtest_logfinish(nodeid): print(f"\nfinish {nodeid}")
def pytest_exception_interact(node): print(f"\ninteract {node.nodeid}")
