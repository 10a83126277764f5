def test_root(db): pass  # no db here, will error out
