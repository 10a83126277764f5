"""Wrappers of makereport that change a report: once, whatever process they run in."""

import pytest


class Browser:
    def __init__(self, name): self.title = f"page of {name}"
@pytest.fixture
def browser(request): return Browser(request.node.name)
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.sections.append((f"own {report.when}", f"text of {item.name}"))
    item.user_properties.append((f"made {report.when}", report.outcome))
    report.description = (item.function.__doc__ or "").strip()
    report.number = len(report.sections)
    report.item_of = item  # an object that does not travel
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.when == "call" and browser is not None:
        report.sections.append(("browser", browser.title))
    if report.when == "call" and call.excinfo is not None and call.excinfo.errisinstance(ConnectionError):
        report.outcome, report.wasxfail = "skipped", f"no service: {call.excinfo.value}"
    if report.when == "call" and report.passed and item.name == "test_too_good":
        report.outcome, report.longrepr = "failed", "too good to be true"
    if report.when == "call" and report.failed and item.name == "test_shortened":
        report.longrepr = f"in short: {call.excinfo.typename}"
    return report
logged = []
def pytest_runtest_logreport(report):
    logged.append(f"{report.item_of.name} {report.when} {report.number} {report.description}")
def pytest_terminal_summary(terminalreporter):
    for line in logged:
        terminalreporter.write_line(line)
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        terminalreporter.write_line(f"{report.nodeid} {report.when}: {[each for each in report.user_properties if not each[0].startswith('isolate.')]}")
