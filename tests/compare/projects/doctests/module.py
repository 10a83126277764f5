"""A module.

>>> 1 + 1
2
>>> 1 + 1
3
"""


def good():
    """
    >>> good()
    'good'
    >>> print("said")
    said
    """
    return "good"


def bad():
    """
    >>> bad()
    Traceback (most recent call last):
    ValueError: other
    """
    raise ValueError("this")


def raises():
    """
    >>> raises()
    1
    """
    raise KeyError("in doctest")


def skipped():
    """
    >>> 1 / 0  # doctest: +SKIP
    """


def uses_fixture():
    """
    >>> getfixture("tmp_path").is_dir()
    True
    >>> name
    'of the name space'
    """


class Klass:
    """
    >>> Klass().method()
    [0, 1, 2,
     3]
    """

    def method(self):
        """
        >>> Klass().method()  # doctest: +ELLIPSIS
        [0, ..., 3]
        """
        return list(range(4))


def lines():
    """
    >>> print("a\\nb\\nc\\nd")
    a
    b
    x
    d
    """
