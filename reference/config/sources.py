"""Where a configuration comes from: files, directories, ``-hcl`` fragments and flags, read in the original's order.

Reading stops at syntax and types; what the values mean is settled in :mod:`reference.config.load`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reference.config import hcl
from reference.config.decode import Decoder
from reference.config.errors import ConfigError
from reference.config.schema import AGENT
from reference.secretive import Secretive


class Sources(Secretive, frozen=True, kw_only=True):
    """What a command line names, so that it can be read now and again at each reload.

    ``paths`` are files and directories in the order given; ``flags`` are pairs of a flag's name and the
    configuration that it stands for (``("-http-port", {"ports": {"http": 8500}})``); ``fragments`` are the texts of
    ``-hcl``, which come last and win, as in the original; they may hold secrets, and stay out of ``repr``. All files
    are in ``file_format`` (``hcl``, ``json``), if it is given, whatever their names end in.
    """

    UNSHOWN = frozenset({"fragments"})

    paths: tuple[str, ...] = ()
    flags: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    fragments: tuple[str, ...] = ()
    dev_mode: bool = False
    file_format: str = ""


class Source(Secretive, frozen=True):
    """One source, decoded by :data:`~reference.config.schema.AGENT`. ``name`` is how errors call it."""

    UNSHOWN = frozenset({"checks", "options", "services"})

    name: str
    options: Mapping[str, Any]
    services: tuple[Mapping[str, Any], ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()


def read(sources: Sources) -> Iterator[Source]:
    """Every source in merge order, the weakest first. Raises :class:`ConfigError` at the first that cannot be used."""
    for path in sources.paths:
        for file in _files(Path(path), forced=bool(sources.file_format)):
            parser = _PARSERS[f".{sources.file_format}" if sources.file_format else file.suffix]
            yield _source(str(file), _parse_text(_text(file), name=str(file), parse=parser))
    for name, values in sources.flags:
        yield _source(name, values)
    for number, fragment in enumerate(sources.fragments, start=1):
        name = "-hcl" if len(sources.fragments) == 1 else f"-hcl number {number}"
        yield _source(name, _parse_text(fragment, name=name, parse=_hcl))


def _source(name: str, raw: Any) -> Source:
    options = Decoder.for_file(name).decode(AGENT, raw)
    services = options.pop("services", [])
    if "service" in options:
        services.append(options.pop("service"))
    checks = options.pop("checks", [])
    if one := options.pop("check", None):
        checks.append(one)
    return Source(name, options, tuple(services), tuple(checks))


def _files(path: Path, *, forced: bool) -> list[Path]:
    """The file itself, or what a directory holds: files that end in .json or .hcl, by name, no sub-directories.

    Where a format is ``forced``, all files count.
    """
    try:
        if path.is_dir():
            names = sorted(entry.name for entry in os.scandir(path) if not entry.is_dir())
            return [path / name for name in names if forced or Path(name).suffix in _PARSERS]
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "Correct its permissions") from None
    if not forced and path.suffix not in _PARSERS:
        raise ConfigError(
            str(path),
            "Missing or invalid file extension",
            'Please use a file that ends in ".json" or ".hcl", or -config-format',
        )
    return [path]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(file), "there is no such file", "Correct the path or create the file") from None
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}", "Correct its permissions") from None
    except UnicodeDecodeError:
        raise ConfigError(str(file), "the text is not UTF-8", "Save the file as UTF-8") from None


def _parse_text(text: str, *, name: str, parse: Callable[[str], Any]) -> Any:
    if not text.strip():
        return {}
    try:
        return parse(text)
    except (hcl.HclError, json.JSONDecodeError, _UnusableJson) as error:
        raise ConfigError(name, f"Error parsing: {error}", "Correct the syntax there") from None
    except RecursionError:
        raise ConfigError(name, "Error parsing: nested too deeply", "Remove levels of nesting") from None


class _UnusableJson(ValueError):
    """JSON that is well-formed, but says something twice or nothing that can be represented."""


def _json(text: str) -> Any:
    document = json.loads(
        text, object_pairs_hook=_unique, parse_constant=_unrepresentable, parse_float=_finite
    )
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _UnusableJson("a string contains half of a surrogate pair") from None
    return document


def _hcl(text: str) -> Any:
    """HCL, or JSON where an object is the whole text, as the original tells them apart."""
    return _json(text) if text.lstrip().startswith("{") else hcl.parse(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if any(key == k for k, _ in pairs[:index]))
        raise _UnusableJson(f"the key {twice} is given twice in one object")
    return entries


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _unrepresentable(digits)


def _unrepresentable(literal: str) -> float:
    raise _UnusableJson(f"the number {literal} cannot be represented")


_PARSERS: Mapping[str, Callable[[str], Any]] = {".json": _json, ".hcl": _hcl}
