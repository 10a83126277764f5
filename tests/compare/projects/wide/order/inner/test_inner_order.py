import pytest


def test_four(four, three): assert three == "three"
def test_overridden(overridden): assert overridden == ["top", "package"]
@pytest.mark.skip
def test_skipped(one, five): pass
@pytest.mark.skipif("True", reason="condition")
class TestSkipped:
    def test_skipped(self, two): pass
