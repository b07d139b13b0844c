"""What one request can put into a log is bounded, so that nobody soon rotates away what it says of others.

The hub imports this, and users' servers load it as a part of their configuration.
"""

import logging
from typing import Any

MESSAGE_MAX = 1_000  # characters; a URL, which anybody may send, has up to 64,000
TRACEBACK_MAX = 20_000


def short(text: Any, maximum: int) -> Any:
    """A text that is cut, and says so."""
    if not isinstance(text, str) or len(text) <= maximum:
        return text
    return f"{text[:maximum]}… ({len(text)} characters)"


class ShortRecord(logging.LogRecord):
    """A record of the log whose message and traceback are cut."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, short(value, TRACEBACK_MAX) if name == "exc_text" else value)

    def getMessage(self) -> str:
        message: str = short(super().getMessage(), MESSAGE_MAX)
        return message


logging.setLogRecordFactory(ShortRecord)
