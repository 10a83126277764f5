"""Packets of several interfaces in one file, as Wireshark and tshark read it: pcapng,
draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_ETHERNET = 1
_NAME, _RESOLUTION = 2, 9  # options of an interface
_NANOSECONDS = 9  # as a power of ten
LARGEST = 1 << 18  # bytes of one packet


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("=II", kind, size) + body + struct.pack("=I", size)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", kind, len(value)) + _padded(value)


def head(interfaces: list[str]) -> bytes:
    """Write what a file begins with. Packets name an interface by its position in these."""
    made = _block(_SECTION, struct.pack("=IHHq", _MAGIC, 1, 0, -1))
    for name in interfaces:
        options = (
            _option(_NAME, name.encode()) + _option(_RESOLUTION, bytes([_NANOSECONDS])) + bytes(4)
        )
        made += _block(_INTERFACE, struct.pack("=HHI", _ETHERNET, 0, LARGEST) + options)
    return made


def packet(interface: int, nanoseconds: int, data: bytes, length: int) -> bytes:
    """One packet, of which ``data`` is what there is of its ``length`` bytes; since the epoch."""
    fields = struct.pack(
        "=IIIII", interface, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, len(data), length
    )
    return _block(_PACKET, fields + _padded(data))
