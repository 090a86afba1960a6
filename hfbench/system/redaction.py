"""Secrets are hidden in all that a person is told or a file keeps: messages, logs, records.

What is looked for: the secrets of this process (its token of the Hub, and environment variables
whose names say that they are secret), whatever has the form of a known kind of token, and user and
password in an address.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

from hfbench.system.terminal import clean

HIDDEN = "[redacted]"

SECRET_PATTERNS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{16,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
"""What -> how it looks; in ASCII, so that bytes can be searched, too."""

_SECRET_NAMES = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE
)
_PLACES = re.compile(r"_(PATH|FILE|DIR)$", re.IGNORECASE)  # of a secret, which is not the secret
_SHORTEST = 8  # characters; a shorter value is a switch, and would be found in any text
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/?#]*@")
_KINDS = re.compile("|".join(SECRET_PATTERNS.values()))


def redact(text: str) -> str:
    """``text`` with ``[redacted]`` in the place of every secret."""
    for _, secret in own_secrets():
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, HIDDEN)
    return _USER_OF_ADDRESS.sub(f"{HIDDEN}@", _KINDS.sub(HIDDEN, text))


def own_secrets() -> Iterator[tuple[str, str]]:
    """What each secret of this process is, and its value."""
    import huggingface_hub

    token = huggingface_hub.get_token()
    if token and len(token) >= _SHORTEST:
        yield "the value of your Hugging Face token", token
    for what, value in _secret_variables():
        if value != token:
            yield what, value


def find_secrets(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The key path of each value in ``values``, as YAML holds them, that is secret; and what it is.

    Heavy imports are left out: a token that was stored by a login has the form of one.
    """
    if isinstance(values, dict):
        for name, value in values.items():
            yield from find_secrets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from find_secrets(value, f"{key}[{index}]")
    elif isinstance(values, str):
        known = [(what, re.escape(secret)) for what, secret in _secret_variables()]
        kinds = [*known, *SECRET_PATTERNS.items()]
        kinds.append(("a user or password in an address", _USER_OF_ADDRESS.pattern))
        yield from ((key, what) for what, pattern in kinds if re.search(pattern, values))


def redact_output() -> None:
    """From now on hide secrets in the log records and the tracebacks of this process."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))
    sys.excepthook = _print_redacted


class _RedactingFactory:
    """Makes log records as ``make`` does, of whichever logger and for whichever handler."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        record.msg, record.args = clean(redact(record.getMessage())), ()
        if record.exc_info and record.exc_info[1]:
            # a formatter shows this text in the place of the exception
            lines = traceback.format_exception(record.exc_info[1])
            record.exc_text = clean(redact("".join(lines))).rstrip()
        return record


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    print(clean(redact(text)), end="", file=sys.stderr)


def _secret_variables() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET_NAMES.search(name) and not _PLACES.search(name):
            yield f"the value of the environment variable {name}", value
