"""What a hook can ask of a failure: its class, its words, its place."""

import pathlib

import errors

lines = []


def pytest_exception_interact(node, call, report):
    info = call.excinfo
    kinds = [kind.__name__ for kind in (errors.Deeper, errors.Ours, OSError, ConnectionError, AssertionError, LookupError) if info.errisinstance(kind)]
    lines.append(f"{node.name} {report.when}: {info.typename} {str(info.value)!r} {kinds}")
    lines.append(f"  {info.exconly().splitlines()[-1]}")
def pytest_runtest_makereport(item, call):
    if call.excinfo is not None and isinstance(call.excinfo.value, OSError):
        lines.append(f"  errno {call.excinfo.value.errno} {call.excinfo.value.args}")
    if call.excinfo is not None and isinstance(call.excinfo.value, BaseExceptionGroup):
        lines.append(f"  group {[str(each) for each in call.excinfo.value.exceptions]}")
def pytest_terminal_summary(terminalreporter):
    pathlib.Path(__file__).with_name("made").write_text(str(errors.Ours.made))  # in pytest: not compared
    for line in lines:
        terminalreporter.write_line(line)
try:
    BaseExceptionGroup
except NameError:
    from exceptiongroup import BaseExceptionGroup
