import errors


def test_ours(): raise errors.Ours(3, "text")
def test_deeper(): raise errors.Deeper(4, "text")
def test_inside_a_function():
    class Inner(errors.Deeper): pass
    raise Inner(5, "text")
