def test_one(): pass
def test_two(): assert 0
def test_three(tmp_path): pass
