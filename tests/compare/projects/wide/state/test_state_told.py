def test_told(told): print("captured")
def test_told_more(told): pass
def test_cache(cache): print(cache.get("wide/number", None))
