import solution


def test_reverse():
    assert solution.reverse("abc") == "cba"


def test_count_down_never_ends():
    assert solution.count_down(3) is None


def test_shout_writes_over_the_tests():
    assert solution.shout("abc") == "ABC"


def test_translate_asks_the_internet():
    assert solution.translate("Hund") == "dog"


def test_double_takes_all_memory():
    assert solution.double([1, 2]) == [2, 4]


def test_sort_starts_a_hundred_processes():
    assert solution.sort([2, 1]) == [1, 2]
