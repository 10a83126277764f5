def test_four(own_too): pass
