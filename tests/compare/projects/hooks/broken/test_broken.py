def test_one(screen): pass
def test_two(screen): assert 0
def test_three(screen): pass
