"""What addresses a name has, as this machine knows it."""

from __future__ import annotations

import socket


def addresses(name: str) -> tuple[str, ...]:
    """All of them, without those that mean something on one interface only.

    Raises ``LookupError`` with why there are none.
    """
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LookupError(f"this machine knows no host {name!r}: {why}") from None
    found = (str(answer[4][0]) for answer in answers)
    return tuple(dict.fromkeys(each for each in found if "%" not in each))
