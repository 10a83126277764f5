import pytest


def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".yaml":
        return YamlFile.from_parent(parent, path=file_path)
    return None
class YamlFile(pytest.File):
    def setup(self): print("file set up")
    def teardown(self): print("file torn down")
    def collect(self):
        for line in self.path.read_text().splitlines():
            name, _, rest = line.partition(": ")
            yield YamlItem.from_parent(self, name=name, spec=[each.split("=") for each in rest.split(", ")])
class YamlItem(pytest.Item):
    def __init__(self, *, spec, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec
        if name_is(spec, "xfail"):
            self.add_marker(pytest.mark.xfail(reason="said so"))
        if name_is(spec, "skip"):
            self.add_marker(pytest.mark.skip(reason="said so"))
    def setup(self): print("item set up")
    def teardown(self): print("item torn down"); assert not name_is(self.spec, "late")
    def runtest(self):
        print("running", self.spec)
        for name, value in self.spec:
            if name != value:
                raise YamlException(self, name, value)
    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, YamlException):
            return "\n".join(["usecase execution failed", f"   spec failed: {excinfo.value.args[1:]!r}", "   no further details"])
        return super().repr_failure(excinfo)
    def reportinfo(self): return self.path, 0, f"usecase: {self.name}"
class YamlException(Exception): pass
def name_is(spec, name): return spec[0][0] == name
