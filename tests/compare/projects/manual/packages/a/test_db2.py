def test_a2(db): assert 0, db  # to show value
