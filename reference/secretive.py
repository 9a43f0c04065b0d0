"""Records that hold secrets and do not show them: a log line or a traceback quotes whatever it is given."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Secretive(msgspec.Struct, frozen=True):
    """A struct whose :attr:`UNSHOWN` fields are left out of its ``repr``."""

    UNSHOWN: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown = (name for name in self.__struct_fields__ if name not in self.UNSHOWN)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"
