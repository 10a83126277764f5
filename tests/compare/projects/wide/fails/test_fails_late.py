class TestLate:
    def test_first(self, late): pass
    def test_last(self, late): assert 0
