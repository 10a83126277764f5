import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    setattr(item, "rep_" + report.when, report)
    return report
def pytest_runtest_logreport(report):
    for name, value in report.user_properties:
        if not name.startswith("isolate."):
            print("property", report.when, name, repr(value))
