def test_h_bad(): assert 0
def test_i_good(): pass
