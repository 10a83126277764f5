"""A plugin of the project's own, as a conftest loads it."""

made, logged = [], []


def pytest_runtest_makereport(item, call): made.append(f"{item.name} {call.when} {call.excinfo is not None}")
def pytest_runtest_logreport(report): logged.append(report.when)
def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"plugin: logged {logged}")
    terminalreporter.write_line(f"plugin: made {made}")
