"""Hooks that are told of items that are no functions: of a collector of the conftest's own, of doctests."""

import pytest

lines = []


def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".spec":
        return SpecFile.from_parent(parent, path=file_path)
    return None
class SpecFile(pytest.File):
    def collect(self):
        for line in self.path.read_text().splitlines():
            yield SpecItem.from_parent(self, name=line.split()[0], words=line.split()[1:])
class SpecError(Exception): pass
class SpecItem(pytest.Item):
    def __init__(self, *, words, **kwargs):
        super().__init__(**kwargs)
        self.words, self.states = words, []
    def setup(self): self.states.append("set up")
    def runtest(self):
        self.states.append("ran")
        if self.words[0] != self.words[1]:
            raise SpecError(self, *self.words)
        if self.words[0] == "skip":
            pytest.skip("says so")
    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, SpecError):
            return f"spec failed: {excinfo.value.args[1]} is not {excinfo.value.args[2]}, {excinfo.value.args[0].states}"
        return super().repr_failure(excinfo)
    def reportinfo(self): return self.path, 0, f"spec: {self.name}"
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    kind = None if call.excinfo is None else call.excinfo.typename
    lines.append(f"made {type(item).__name__} {item.name} {report.when} {report.outcome} {kind} {report.longreprtext.splitlines()[:1]}")
    return report
def pytest_exception_interact(node, call, report):
    lines.append(f"interact {node.name} {call.excinfo.errisinstance(SpecError)} {report.longreprtext.splitlines()[-1]}")
def pytest_runtest_logreport(report): lines.append(f"logged {report.location[2]} {report.when} {report.outcome}")
def pytest_terminal_summary(terminalreporter):
    for line in lines:
        terminalreporter.write_line(line)
