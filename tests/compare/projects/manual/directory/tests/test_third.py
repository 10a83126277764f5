def test_3(): raise RuntimeError("is not in the manifest")
