"""Who a request comes from: a link's token, or the session it was exchanged for, whose forms bring a proof along."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

from rrm.desk import Desk
from rrm.desk.raters import OWNER, Rater, opened, signed

DAYS = 7
"""A session lasts so long; the link opens another."""


class Caller(NamedTuple):
    """Whoever is asking."""

    rater: Rater | None
    """None: the owner."""
    proof: str = ""
    """What a form of this session has to bring along; empty where the token itself was sent."""


class Doors:
    """Lets in who shows a link of this desk. `url`: where people reach it, as "https://judge.example.org", if that is
    other than where it listens."""

    def __init__(self, desk: Desk, cookie: str, url: str = "") -> None:
        self._desk, self._secret, self.cookie, self.url = desk, desk.register.secret(), cookie, url

    def token(self, rater: int) -> str:
        """What a link carries, the same each time."""
        return signed(self._secret, "link", str(rater))

    def session(self, token: str) -> str | None:
        """A session for who shows that token; None if it is no token of this desk."""
        rater = opened(self._secret, "link", token)
        if rater is None or self._known(rater) is None:
            return None
        return signed(self._secret, "session", f"{rater}:{int(time.time())}:{secrets.token_hex(8)}")

    def caller(self, request: Request) -> Caller:
        """Who asks. Raises 401 if nobody that is known, 403 if a page elsewhere sent it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            rater = opened(self._secret, "link", token.strip())
            found = self._known(rater) if rater is not None else None
            if found is None:
                raise HTTPException(401, "this token opens nothing here; take the link anew from `rrm judge`")
            return found
        cookie = request.cookies.get(self.cookie, "")
        said = opened(self._secret, "session", cookie)
        found = self._of_session(said) if said is not None else None
        if found is None:
            raise HTTPException(401, "open the link that `rrm judge` printed for you, or send its token as a bearer")
        proof = signed(self._secret, "proof", cookie).rpartition(".")[2]
        if request.method not in ("GET", "HEAD"):
            _same_origin(request, self.url)
        return found._replace(proof=proof)

    def _of_session(self, said: str) -> Caller | None:
        rater, began, _ = said.split(":")
        return self._known(rater) if time.time() - int(began) < DAYS * 86_400 else None

    def _known(self, rater: str) -> Caller | None:
        if rater == str(OWNER):
            return Caller(None)
        found = self._desk.register.find(int(rater))
        return Caller(found) if found else None


def check_proof(caller: Caller, given: str) -> None:
    """Raise 403 if a session's form, or call, does not bring its proof along."""
    if caller.proof and not hmac.compare_digest(caller.proof.encode(), given.encode("utf-8", "replace")):
        raise HTTPException(403, "this was not sent from the page itself; load the page again")


def _same_origin(request: Request, url: str) -> None:
    """Browsers say where a form stood, but for forms of pages that send no referrer ("null"), as ours: there, and where
    a browser says nothing, the proof alone tells. A proxy may have put another host in the place of `url`'s."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    own = origin in (None, "null", url or None) or urlsplit(origin).netloc == request.headers.get("host", "")
    if site not in ("same-origin", "none") or not own:
        raise HTTPException(403, "another page sent this")


def origin_of(url: str) -> str:
    """A URL as browsers write an origin. Raises ValueError, saying what to write, where it is not one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    scheme, host = parts.scheme, parts.hostname
    beside = not host or parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment
    if scheme not in ("http", "https") or beside:
        raise ValueError("write where people reach the page, with no path behind it, as in https://judge.example.org")
    name = f"[{host}]" if ":" in str(host) else host
    return f"{scheme}://{name}" + (f":{port}" if port not in (None, 80 if scheme == "http" else 443) else "")
