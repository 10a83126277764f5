"""Parsers of keyword values: sizes, durations, counts, names.

Each returns the value or raises ``ValueError`` with what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

Parser = Callable[[object], object]

_SIZE = r"(\d{1,20}(?:\.\d{1,20})?)\s*(?:([KMGT])(i?B)?)?"
_LARGEST = 2**63 - 1  # bytes, of every limit that the kernel takes
_SIZE_TEXT = "a number of bytes, or text such as '512K', '64M', '1.5G' or '64MiB' (powers of 1024)"
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = r"(-?\d{1,20}(?:\.\d{1,20})?)\s*(ms|s|m|h)?"
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
_DURATION_TEXT = "a number of seconds, or text such as '250ms', '5s' or '2m'"
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_HOSTNAME = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?"


def shown(value: object, how: Callable[[object], str] = repr) -> str:
    """Write a value as Python does, also one whose own method for that fails."""
    try:
        return how(value)
    except Exception as error:  # noqa: BLE001 - of somebody else's method
        return f"<{type(value).__name__}, of which {type(error).__name__} is raised>"


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST if isinstance(value, int) else math.isfinite(value)


def _as_text_number(value: object) -> object:
    """Read a plain number as a number: a command line and an ini file have text only."""
    if isinstance(value, str):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return value
    return value


def size(minimum: int) -> Parser:
    """Bytes, at least ``minimum``: what can run at all."""

    def parse(value: object) -> int:
        written = value
        if isinstance(value, str):
            match = re.fullmatch(_SIZE, value.strip(), re.IGNORECASE)
            if match and match[3] and match[3].lower() == "b":
                raise ValueError(
                    f"'{match[2]}B' could mean 1000 or 1024: write '{match[1]}{match[2].upper()}'"
                    f" or '{match[1]}{match[2].upper()}iB'"
                )
            if not match:
                raise ValueError(f"it must be {_SIZE_TEXT}")
            power = 1024 ** _POWERS[(match[2] or "").upper()]
            value = int(float(match[1]) * power) if "." in match[1] else int(match[1]) * power
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"it must be {_SIZE_TEXT}")
        if value < 0 == minimum:
            raise ValueError("it must not be negative")
        if value < minimum:
            too_small = f"it must be at least {format_size(minimum)}: with less no test can run"
            if str(value) == str(written).strip() and 0 < value <= _MOST_MEANT:
                too_small += f" (a number is bytes: '{value}M' is {value} MiB)"
            raise ValueError(too_small)
        if value > _LARGEST:
            raise ValueError("it must be less than 8 EiB, the largest limit that the kernel takes")
        return value

    return parse


def duration(value: object) -> float:
    """Seconds, more than none."""
    if isinstance(value, str):
        match = re.fullmatch(_DURATION, value.strip())
        if not match:
            raise ValueError(f"it must be {_DURATION_TEXT}")
        value = float(match[1]) * _DURATION_UNITS[match[2]]
    if not _is_number(value):
        raise ValueError(f"it must be {_DURATION_TEXT}")
    assert isinstance(value, int | float)
    if value <= 0:
        raise ValueError("it must be more than 0 seconds")
    return float(value)


_MOST_MEANT = 2048  # a smaller number was meant as MiB
_MOST = 1 << 22  # processes (PID_MAX_LIMIT) or open files, of the largest machine


def count(minimum: int, why: str) -> Parser:
    """Read a whole number, at least ``minimum``, no more than a machine can have."""

    def parse(value: object) -> int:
        value = _as_text_number(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ValueError(f"it must be a whole number, at least {minimum}: {why}")
        if value > _MOST:
            raise ValueError(f"it must be at most {_MOST}: no machine has more")
        return value

    return parse


def cores(value: object) -> float:
    """Processor cores; the kernel's quota has steps of 1/100 of one."""
    value = _as_text_number(value)
    if not _is_number(value) or value < 0.01:  # type: ignore[operator]
        raise ValueError("it must be a number of cores, at least 0.01, such as 0.5 or 2")
    return float(value)  # type: ignore[arg-type]


def boolean(value: object) -> bool:
    """Read True or False, or the words for it in an ini file."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError("it must be True or False")


def either(words: Sequence[str]) -> str:
    """Write ``'a', 'b' or 'c'``."""
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}" if most else last


_ALIKE = 0.7  # from 0 to 1


def meant(written: object, known: Iterable[str]) -> str:
    """Say, behind a sentence, which word was meant, if one is like what was written."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who mistyped

    close = get_close_matches(str(written).lower(), list(known), 1, _ALIKE)
    return f" (did you mean {close[0]!r}?)" if close else ""


def choice(*allowed: str) -> Parser:
    """One of some words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"it must be {either(allowed)}{meant(value, allowed)}")
        return value

    return parse


def fixtures(value: object) -> str | tuple[str, ...]:
    """``"shared"``, ``"fresh"``, or names of fixtures; in one text, with commas."""
    if value in ("shared", "fresh"):
        return str(value)
    names = (
        [each.strip() for each in value.split(",") if each.strip()]
        if isinstance(value, str) and "," in value
        else value
    )
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(each, str) and each.isidentifier() for each in names)
    ):
        raise ValueError("it must be 'shared', 'fresh' or a list of names of fixtures")
    return tuple(names)


def hostname(value: object) -> str:
    """Read a name that sethostname(2) takes: up to 64 characters."""
    if not isinstance(value, str) or not re.fullmatch(_HOSTNAME, value):
        raise ValueError(
            "it must be 1 to 64 letters, digits, dots and hyphens, with a letter or digit at both"
            " ends"
        )
    return value


def user(value: object) -> str | int:
    """Read a user name of this machine or a uid."""
    value = _as_text_number(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int)
        or value == ""
        or (isinstance(value, int) and not 0 <= value < 2**32 - 1)
    ):
        raise ValueError("it must be a user name or a uid of this machine, or 'root'")
    if isinstance(value, str):
        import pwd  # noqa: PLC0415 - not on every system this module is imported on

        try:
            pwd.getpwnam(value)
        except (KeyError, ValueError):  # ValueError: a name with a null byte
            raise ValueError("it must be a user of this machine, and none has that name") from None
    return value


def environment(value: object) -> Mapping[str, str | None] | str:
    """Read a dict of variables, ``"clean"``, or, from a command line, a list of NAME=VALUE."""
    what = "it must be a dict of variable names to text (or None, to remove one), or 'clean'"
    if value in ("clean", ["clean"]):
        return "clean"
    if isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [str(each).partition("=") for each in value]
        if any(not separator for _, separator, _ in pairs):
            raise ValueError("it must be NAME=VALUE, or 'clean'")
        value = {name: text for name, _, text in pairs}
    if not isinstance(value, Mapping):
        raise ValueError(what)
    for name, text in value.items():
        if not (_is_text(name) and name and "=" not in name and (text is None or _is_text(text))):
            raise ValueError(f"{what}; {name!r}: {text!r} is not")
    return dict(value)


def _is_text(value: object) -> bool:
    """Whether the kernel takes it as a string: without a null byte."""
    return isinstance(value, str) and "\0" not in value


_MOST_SHOWN = 3  # layers


def layers(value: object) -> object:
    """Read directories and ``Layer``s. What knows them is for those who have some."""
    from pytest_isolate._config import layers as layers_  # noqa: PLC0415

    return layers_.parse(value)


def format_layers(value: Sequence[object]) -> str:
    """Write layers for people."""
    names = [str(getattr(each, "name", each)) for each in value]
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return (", ".join(names[:_MOST_SHOWN]) or "none") + more


def text(value: object) -> str:
    """Read some text."""
    if not isinstance(value, str) or not value:
        raise ValueError("it must be a name")
    return value


def plain(text: str) -> str:
    """Without what a terminal would obey, on one line: names and sentences can hold what a test
    chose.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def counted(number: int, noun: str) -> str:
    """``1 violation``, ``2 violations``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def most_files(disk: int) -> int:
    """How many files a limit of so many bytes allows: an empty one costs the kernel memory too."""
    return disk // _BYTES_PER_FILE + _BYTES_PER_FILE


_BYTES_PER_FILE = 1024


def format_size(number: int) -> str:
    """Bytes for people: the largest power of 1024 that keeps at least one whole unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if number == int(number) else f"{number:.1f} {unit}"
        number /= 1024  # type: ignore[assignment]
    return f"{number:.1f} TiB"


def format_rate(number: int) -> str:
    """Bytes a second for people."""
    return f"{format_size(number)}/s"


def format_number(number: float) -> str:
    """Write a number without a unit, or with one that is said elsewhere."""
    return f"{number:g}"


def format_duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
