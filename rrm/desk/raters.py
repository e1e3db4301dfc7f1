"""Who may judge: names, and links that are signed with the desk's own key, so that none has to be kept."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

OWNER = 0
"""The number of whoever runs the desk, who is no rater."""


class Rater(NamedTuple):
    """Somebody who judges."""

    id: int
    name: str
    paused: bool = False


def signed(secret: bytes, purpose: str, text: str) -> str:
    """`text` with a signature that only who holds the secret can make, for one purpose alone."""
    return f"{text}.{_signature(secret, purpose, text)}"


def opened(secret: bytes, purpose: str, token: str) -> str | None:
    """What was signed; None if it was not, or for another purpose."""
    text, dot, signature = token.rpartition(".")
    good = hmac.compare_digest(signature.encode(), _signature(secret, purpose, text).encode())
    return text if dot and good else None


def _signature(secret: bytes, purpose: str, text: str) -> str:
    return hmac.new(secret, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:43]
