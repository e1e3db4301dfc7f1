"""Stands before every request: which host it names, how large it is, how many come; answers get strict headers."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST = 256 * 1024
"""Bytes that a request may have."""

_TOO_LARGE = f"a request has at most {LARGEST} bytes"

PER_SECOND, BURST = 50.0, 200.0
"""Requests of one caller: so many a second, and so many at once."""

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Wraps an application. `hosts` are the names under which it is served, besides addresses and localhost: another
    name in a request means that somebody's page leads a browser here (DNS rebinding)."""

    def __init__(self, app: App, *hosts: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._hosts, self._clock = app, {"localhost", *(h.lower() for h in hosts if h)}, clock
        self._left: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        answer = _laying_headers(send, nonce)
        if not self._knows(headers.get("host", "")):
            await _refuse(answer, 400, "this server goes by another name; `rrm judge --url` says which")
        elif not _small(headers.get("content-length")):
            await _refuse(answer, 413, _TOO_LARGE)
        elif not self._may(_caller(scope, headers)):
            await _refuse(answer, 429, "too many requests at once; wait a second")
        else:
            await self._hand_on(scope, receive, answer)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body that turns out longer than it said, or that did not say, is refused as soon as it is."""
        got, more, begun = 0, True, False

        async def limited() -> Message:
            nonlocal got, more
            message = await receive()
            got, more = got + len(message.get("body", b"")), message.get("more_body", False)
            return {"type": "http.disconnect"} if got > LARGEST else message

        async def answer(message: Message) -> None:
            nonlocal begun
            if begun or got <= LARGEST:  # what the application makes of half a body is told to nobody
                begun = True
                await send(message)

        try:
            await self._app(scope, limited, answer)
        except Exception:
            if got <= LARGEST:
                raise
        if got > LARGEST and not begun:
            while more and got <= 16 * LARGEST:  # who is cut off while sending hears no reason
                await limited()
            await _refuse(send, 413, _TOO_LARGE)

    def _knows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _may(self, caller: str) -> bool:
        """A bucket for each caller, which fills again at a steady rate."""
        now = self._clock()
        left, at = self._left.get(caller, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        if len(self._left) > 10_000:  # callers that were not heard of for long have a full bucket anyway
            self._left = {c: (n, t) for c, (n, t) in self._left.items() if now - t < BURST / PER_SECOND}
        self._left[caller] = (max(left - 1, 0.0), now)
        return left >= 1


def _caller(scope: Scope, headers: dict[str, str]) -> str:
    """Whoever shows a link or a session, by that; others by their address."""
    return headers.get("authorization") or headers.get("cookie") or str((scope.get("client") or ("",))[0])


def _small(length: str | None) -> bool:
    return length is None or (length.isdecimal() and int(length) <= LARGEST)


def _laying_headers(send: Send, nonce: str) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {k.lower() for k, _ in message.get("headers", [])}
            laid = {**_HEADERS, "content-security-policy": _POLICY.format(nonce)}
            more = [(k.encode(), v.encode()) for k, v in laid.items() if k.encode() not in own]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return answer


async def _refuse(send: Send, status: int, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})
