def test_a1(db): assert 0, db  # to show value
