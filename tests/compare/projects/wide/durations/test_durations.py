def test_before(): pass
def test_first(slow): pass
def test_last(slow, tmp_path): pass
