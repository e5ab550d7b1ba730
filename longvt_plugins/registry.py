"""A table of named things that remembers which plugin gave each one.

>>> tools = Registry("tool")
>>> tools.register("crop_video", print, provider="built-in")
>>> tools.get("crop_vdeo")
Traceback (most recent call last):
...
longvt_plugins.errors.UnknownNameError: No tool named 'crop_vdeo'. Did you mean 'crop_video'? Installed: ...
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from longvt_plugins.errors import DuplicateNameError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to values of one kind.

    Args:
        kind: What the values are, in the singular, for error messages: ``"tool"``.
        advice: One clause that ends the message about a duplicate name.
    """

    def __init__(self, kind: str, advice: str = "Rename one.") -> None:
        self.kind = kind
        self._advice = advice
        self._values: dict[str, T] = {}
        self._providers: dict[str, str] = {}

    def register(self, name: str, value: T, *, provider: str) -> None:
        """Adds a value.

        Args:
            name: Under which :meth:`get` finds it.
            value: The thing itself.
            provider: Who gives it, for error messages: ``"built-in"`` or ``"longvt-zoom 0.1"``.

        Raises:
            DuplicateNameError: The name is taken.
        """
        if name in self._values:
            raise DuplicateNameError(
                f"{self.kind} {name!r} is registered by both {self._providers[name]} and {provider}. {self._advice}"
            )
        self._values[name] = value
        self._providers[name] = provider

    def get(self, name: str) -> T:
        """The value of this name.

        Raises:
            UnknownNameError: There is none; the message suggests the nearest and lists all.
        """
        try:
            return self._values[name]
        except KeyError:
            raise UnknownNameError(self._unknown(name)) from None

    def provider(self, name: str) -> str:
        """Who registered this name."""
        self.get(name)
        return self._providers[name]

    def _unknown(self, name: str) -> str:
        installed = ", ".join(f"{known} ({self._providers[known]})" for known in self)
        return f"No {self.kind} named {name!r}.{did_you_mean(str(name), self)} Installed: {installed or 'none'}."

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self._values)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause for an error message that names the nearest known name, or nothing.

    >>> did_you_mean("crop_vdeo", ["crop_video"])
    " Did you mean 'crop_video'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
