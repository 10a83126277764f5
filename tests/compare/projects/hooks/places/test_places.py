def helper(): raise ValueError("deep")
def test_here(): assert 1 == 2
def test_deep(): helper()
