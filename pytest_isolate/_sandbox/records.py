"""Records with named fields for processes that are to start fast: importing ``dataclasses`` would
double the builder's start.

A record is a class with annotated names, in the order in which they are given; a value in the class
is a field's default. Records travel to the builder packed (``pack``), those within others too.
Imported by the builder: cheap modules only.
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False  # importing typing for it would make the builder larger
if TYPE_CHECKING:
    from typing import ClassVar

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        """Tell type checkers, and nobody else."""
        return lambda kind: kind


_KIND = ""  # the key of a packed record's name, which no other dictionary in a record has


@dataclass_transform(frozen_default=True)
class Record:
    """Base of all. Two of one class with equal fields are equal."""

    _kinds: ClassVar[dict[str, type[Record]]] = {}
    field_names: ClassVar[tuple[str, ...]] = ()
    field_types: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.field_names = (*cls.field_names, *cls.__annotations__)
        # As they are written: they are never evaluated
        cls.field_types = (*cls.field_types, *map(str, cls.__annotations__.values()))
        cls._kinds[cls.__name__] = cls

    def __init__(self, *values: object, **named: object) -> None:
        fields = vars(self)
        fields.update(zip(self.field_names, values))  # noqa: B905 - too many are counted below
        fields.update(named)
        known = {name for name in self.field_names if hasattr(self, name)}
        if (
            len(values) > len(self.field_names)
            or fields.keys() - known
            or len(known) < len(self.field_names)
        ):
            raise TypeError(
                f"{type(self).__name__} takes {', '.join(self.field_names)}; there are"
                f" {', '.join(fields)}"
            )

    @staticmethod
    def kind(name: str) -> type[Record]:
        """Find a class of records by its name. Raises ``KeyError``."""
        return Record._kinds[name]

    def values(self) -> tuple[object, ...]:
        """Give the fields, in order."""
        return tuple(getattr(self, name) for name in self.field_names)

    def replace(self, **changes: object) -> Self:
        """Make one with other values of some fields."""
        return type(self)(**dict(zip(self.field_names, self.values())) | changes)  # noqa: B905 - of one length

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Record)
            and self.values() == other.values()
        )

    def __hash__(self) -> int:
        return hash((type(self), self.values()))

    def __repr__(self) -> str:
        fields = zip(self.field_names, self.values())  # noqa: B905 - of one length
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def pack(self) -> str:
        """Make text of it. Only pytest says it, to a Python that is the same as its own."""
        return marshal.dumps(_encoded(self)).hex()  # type: ignore[arg-type]  # its fields are

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Make again what ``pack`` packed, of this class."""
        found = _decoded(marshal.loads(bytes.fromhex(text)))  # noqa: S302 - pytest's word, which started us
        if not isinstance(found, cls):
            raise TypeError(f"a {cls.__name__} was expected, not a {type(found).__name__}")
        return found


def _encoded(value: object) -> object:
    if isinstance(value, Record):
        return {
            _KIND: type(value).__name__,
            **{name: _encoded(getattr(value, name)) for name in value.field_names},
        }
    if isinstance(value, dict):
        return {key: _encoded(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(_encoded, value))
    # A kernel's flag is a number
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _decoded(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_decoded, value))
    if isinstance(value, dict):
        fields = {str(key): _decoded(each) for key, each in value.items()}
        return Record.kind(str(fields.pop(_KIND)))(**fields) if _KIND in fields else fields
    return value
