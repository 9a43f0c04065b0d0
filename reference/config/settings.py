"""The merged options, before they are judged: by dotted name, each with the source that set it last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reference.config.durations import parse_duration
from reference.config.errors import ConfigError


class Settings(msgspec.Struct, frozen=True):
    """The merged options, and for each dotted name the source that set it last."""

    options: Mapping[str, Any]
    origins: Mapping[str, str]

    def get(self, name: str, default: Any = None) -> Any:
        """The option with this dotted name, ``default`` when nothing sets it."""
        value: Any = self.options
        for key in name.split("."):
            if key not in value:
                return default
            value = value[key]
        return value

    def seconds(self, name: str, *, default: str = "0s") -> float:
        """An option that is a duration, in seconds; it may be negative."""
        return parse_duration(self.get(name, default))

    def error(self, name: str, problem: str, remedy: str) -> ConfigError:
        """An error about this option."""
        return ConfigError(self.origins.get(name, "the configuration"), problem, remedy)
