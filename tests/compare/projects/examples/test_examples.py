from hypothesis import given, settings, strategies


@settings(deadline=None, derandomize=False)
@given(strategies.integers())
def test_fails(number): assert number < 1000
