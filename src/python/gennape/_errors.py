"""Exceptions that say what to do next."""

from __future__ import annotations


class _Hinted(Exception):
    """What the classes have in common: a message and, where the next step is known, a hint."""

    hint: str | None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.hint is None else f"{message}\nhint: {self.hint}"


class GennapeError(_Hinted, ValueError):
    """What was given is not what it should be."""


class FileError(_Hinted, OSError):
    """A file can't be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """A file is not there."""


class InternalError(_Hinted, RuntimeError):
    """Gennape itself is wrong."""
