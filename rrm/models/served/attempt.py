"""One request over HTTP, and what came of it: a reply, a failure that may pass, or one that will not."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rrm.models.served.ledger import Reply

if TYPE_CHECKING:
    import httpx

LARGEST = 4 * 2**20
"""Bytes of a reply that are read: far more than any verdict, and no flood."""

PASSING = frozenset({408, 409, 425, 429})
"""What a server says that may say something else soon, beside all from 500 on."""

NEVER = frozenset({"content_filter", "content_policy_violation", "context_length_exceeded", "invalid_prompt"})
"""Codes of errors with which a server refuses what it was asked, and not how."""


class Got(NamedTuple):
    """A reply, and the tokens that the server counted: of the request, of the reply."""

    reply: Reply
    used: tuple[int, int] | None


class Lost(NamedTuple):
    """No reply; there may be one to the same request later."""

    words: str
    charged: bool
    """Whether the model may have been at work, for which a server may charge."""
    after: float | None = None
    """How many seconds the server asks to be left alone."""
    reached: bool = True


class Refused(NamedTuple):
    """The server does not take such a request."""

    status: int
    code: str


async def attempt(
    http: httpx.AsyncClient, url: str, body: bytes, *, timeout: float, now: float
) -> Got | Lost | Refused:
    """Post a request, and read all of the answer within the time: also from a server that sends it in drips."""
    import httpx

    try:
        async with asyncio.timeout(timeout):
            status, headers, data = await _posted(http, url, body)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Lost("no connection", charged=False, reached=False)
    except (TimeoutError, httpx.TimeoutException):
        return Lost(f"no whole reply within {timeout:g} seconds", charged=True)
    except (httpx.TransportError, httpx.DecodingError):
        return Lost("the connection broke off", charged=True)
    if data is None:
        return Lost(f"a reply of more than {LARGEST} bytes", charged=True)
    if 200 <= status < 300:
        return _read(data)
    if status in PASSING or status >= 500:
        return Lost(f"HTTP {status}", charged=False, after=_after(headers.get("retry-after", ""), now))
    code = _code(data)
    if code in NEVER:
        return Got(Reply("", refusal=f"the server refused what it was asked: {code}"), (0, 0))
    return Refused(status, code)


async def _posted(http: httpx.AsyncClient, url: str, body: bytes) -> tuple[int, httpx.Headers, bytes | None]:
    found = bytearray()
    async with http.stream("POST", url, content=body) as response:
        async for part in response.aiter_bytes():
            found += part
            if len(found) > LARGEST:
                return response.status_code, response.headers, None
    return response.status_code, response.headers, bytes(found)


def _read(data: bytes) -> Got | Lost:
    """A chat completion. One that is none is the server's failure, not something that the model said."""
    answer = _json(data)
    choices = answer.get("choices") if isinstance(answer, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(answer, dict) or not isinstance(first, dict) or not isinstance(message, dict):
        return Lost("a reply that is no chat completion", charged=True)
    text, refusal, finish = message.get("content"), message.get("refusal"), first.get("finish_reason")
    if not isinstance(text, str) and not (text is None and (refusal or finish in ("content_filter", "length"))):
        return Lost("a reply without a text", charged=True)
    if finish == "content_filter" and not refusal:
        refusal = "content_filter"
    said = Reply(_sound(text or ""), _sound(str(refusal or "")), _sound(str(finish or "")))
    return Got(said, _used(answer.get("usage")))


def _used(usage: object) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    whole = [n for n in counts if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 10**9]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _code(data: bytes) -> str:
    """A server's own word for an error. What else it says is not repeated: it may repeat what it was sent."""
    error = _json(data)
    error = error.get("error") if isinstance(error, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and len(code) < 60 and code.replace("_", "").isalnum() else ""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _sound(text: str) -> str:
    """Halves of surrogates, which JSON can write and no record can hold, made visible."""
    return text.encode("utf-8", "replace").decode()


def _after(said: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: it is a number, or a date."""
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(said).timestamp() - now
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if seconds < 10**6 else None
