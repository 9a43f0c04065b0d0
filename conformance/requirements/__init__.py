"""What is asked of an implementation, as data: :func:`load` reads the TOML files of this folder."""

from conformance.requirements.register import (
    Area,
    Feature,
    Importance,
    Level,
    Register,
    RegisterError,
    Requirement,
    load,
)

__all__ = ["Area", "Feature", "Importance", "Level", "Register", "RegisterError", "Requirement", "load"]
