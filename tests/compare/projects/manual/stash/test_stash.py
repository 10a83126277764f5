def test_one(stashed): assert stashed == "no"
def test_two(): raise ConnectionRefusedError("refused")
def test_three(stashed): assert 0
