"""What happens to packets on a link: how users write it, and what is possible.

Imported by those who use a ``Network`` only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_isolate._config.values import duration, format_duration

_RATE = r"(\d{1,12}(?:\.\d{1,6})?)\s*(k|m|g)?bit(?:/s|ps)?"
_RATE_TEXT = (
    "bits a second: a number, or text such as '512kbit', '10mbit' or '1gbit' (powers of 1000)"
)
_RATE_UNITS = {None: 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SLOWEST, _FASTEST = 1000, 30 * 10**9  # the kernel's field is 32 bits of bytes a second
_LONGEST = 240.0  # seconds: netem's field is 32 bits of 64 ns
_SHARE_TEXT = "a share of packets: a number from 0 to 1, or text such as '5%'"
_SMALLEST_MTU, _LARGEST_MTU = 68, 65535
SMALLEST_MTU_OF_IPV6 = 1280


@dataclass(frozen=True)
class Conditions:
    """Of what one end of a link sends.

    Times in seconds, shares from 0 to 1, rate in bits a second; 0 and ``None``: the kernel's own.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    rate: int | None = None
    mtu: int | None = None

    @property
    def scheduler(self) -> str | None:
        """The kernel's packet scheduler that makes them."""
        if self.delay or self.jitter or self.loss or self.duplicate or self.reorder or self.corrupt:
            return "netem"
        return None if self.rate is None else "tbf"

    def __str__(self) -> str:
        """In words, as they were written."""
        times = {
            name: format_duration(getattr(self, name))
            for name in ("delay", "jitter")
            if getattr(self, name)
        }
        shares = {
            name: f"{getattr(self, name):.4g}"
            for name in ("loss", "duplicate", "reorder", "corrupt")
            if getattr(self, name)
        }
        numbers = {
            name: str(getattr(self, name))
            for name in ("rate", "mtu")
            if getattr(self, name) is not None
        }
        return (
            ", ".join(f"{name} {value}" for name, value in {**times, **shares, **numbers}.items())
            or "nothing"
        )


def given(absent: object = None, **values: object) -> dict[str, object]:
    """Collect the conditions that a call names: all but those that are ``absent``."""
    return {name: value for name, value in values.items() if value is not absent}


NAMES = tuple(Conditions.__dataclass_fields__)


def conditions(given: Mapping[str, object], base: Conditions | None = None) -> Conditions:
    """Check what was written over what there was before; ``None`` takes one back.

    Raises ``ValueError`` with one sentence.
    """
    values = dict(vars(base)) if base is not None else {}
    for name, value in given.items():
        try:
            if value is None:
                values.pop(name, None)
            else:
                values[name] = _PARSERS[name](value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r}: {error}") from None
    made = Conditions(**values)
    if made.jitter > made.delay:
        raise ValueError(
            f"jitter={made.jitter:g}: it must not be more than the delay, {made.delay:g} s: no"
            " packet arrives before it was sent"
        )
    if made.reorder and not made.delay:
        raise ValueError(
            f"reorder={made.reorder:g}: it needs a delay, which the packets that overtake others go"
            " without"
        )
    return made


def _time(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    seconds = duration(value)
    if seconds > _LONGEST:
        raise ValueError(
            f"it must be at most {_LONGEST:.0f} s, the longest that the kernel's network emulator"
            " holds a packet"
        )
    return seconds


def _share(value: object) -> float:
    if isinstance(value, str) and (
        match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,10})?)\s*%", value.strip())
    ):
        value = float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"it must be {_SHARE_TEXT}")
    return float(value)


def _rate(value: object) -> int:
    if isinstance(value, str):
        match = re.fullmatch(_RATE, value.strip(), re.IGNORECASE)
        if match is None:
            raise ValueError(f"it must be {_RATE_TEXT}")
        value = int(float(match[1]) * _RATE_UNITS[match[2] and match[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"it must be {_RATE_TEXT}")
    if not _SLOWEST <= value <= _FASTEST:
        raise ValueError(
            "it must be from 1kbit to 30gbit a second, which is what the kernel's schedulers can do"
        )
    return value


def _mtu(value: object) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not _SMALLEST_MTU <= value <= _LARGEST_MTU
    ):
        raise ValueError(
            f"it must be a number of bytes from {_SMALLEST_MTU} to {_LARGEST_MTU}, and with IPv6 at"
            f" least {SMALLEST_MTU_OF_IPV6}"
        )
    return value


_PARSERS = {
    "delay": _time, "jitter": _time, "loss": _share, "duplicate": _share, "reorder": _share,
    "corrupt": _share, "rate": _rate, "mtu": _mtu,
}  # fmt: skip
