def test_inner(middle): pass
def test_inner_fails(middle): raise IndexError("inner")
