"""Names that users chose, made safe to print."""

from __future__ import annotations

from rich.markup import escape


def printable(text: object) -> str:
    """Return text without control codes, which could move or recolor what a terminal shows."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(text))


def plain(text: object) -> str:
    """Return text that rich prints as it is: no control codes, and brackets that are no markup."""
    return escape(printable(text))
