"""How-to "assert".

>>> Foo(1).val
1
"""


class Foo:
    def __init__(self, val): self.val = val
    def __eq__(self, other): return self.val == other.val
    def __hash__(self): return self.val
def test_compare():
    f1 = Foo(1)
    f2 = Foo(2)
    assert f1 != f2
    assert f1 == f2
def test_wide(wide): assert wide == Foo(2)
def test_inside(wide): assert wide.val == 1
