"""The one error of the configuration: what is wrong, where it stands, and what to do about it."""

from __future__ import annotations


class ConfigError(Exception):
    """A configuration, or the definition of a service, that cannot be used.

    ``where`` names the file, flag or request; ``problem`` keeps the original's wording where it has one, because
    people search for it; ``remedy`` is a whole sentence. None of them quotes a value that may be a secret.
    """

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(where, problem, remedy)
        self.where = where
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.remedy}."
