"""Access control for the page: its host names, its token, and no requests from other sites.

Sources: Fetch Metadata Request Headers (W3C) for ``Sec-Fetch-Site``, and Content Security Policy Level 3.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "tribrain_session"
HEALTH = "/health"
"""States the page's health in one sentence; open to everyone, because a health check has no token."""
_SAFE = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI middleware around the whole page. ``token`` is None if only this computer can reach it."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], token: str | None) -> None:
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not is_allowed(host, self._hosts):
            return PlainTextResponse("This page does not answer to that host name.\n", 421)
        if scope["method"] not in _SAFE and not _is_of_this_site(headers, host):
            return PlainTextResponse("This request came from another site and was refused.\n", 403)
        if self._token is None or scope["path"] == HEALTH:
            return None
        return self._visit(scope, headers, self._token)

    def _visit(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        by_url = [value for name, value in given if name == "token"]
        if by_url and hmac.compare_digest(by_url[0].encode(), token.encode()):
            # Keep the token out of the address bar, the history and screenshots.
            rest = urlencode([(name, value) for name, value in given if name != "token"])
            path = "/" + scope["path"].lstrip("/")
            answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            # "strict" would withhold the cookie from this redirect if a link on another site led here.
            answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", max_age=30 * 86_400)
            return answer
        if hmac.compare_digest(_cookie(headers).encode(), token.encode()):
            return None
        return PlainTextResponse("First open the page with the address that `tribrain ui` printed.\n", 401)


def allowed_hosts(bound_to: str, more: tuple[str, ...] = ()) -> frozenset[str]:
    """Host names that the page answers to; ``is_allowed`` handles IP addresses."""
    names = _LOOPBACK | {bound_to, *more}
    if bound_to not in _LOOPBACK:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def is_allowed(host_header: str, hosts: frozenset[str]) -> bool:
    """Whether the page answers to this host; refuses foreign names that resolve here (DNS rebinding).

    IP addresses are allowed unless the page listens only on loopback.
    """
    try:
        split = urlsplit(f"//{host_header}")
        name, _ = split.hostname or "", split.port
    except ValueError:
        return False
    if "@" in host_header or "/" in host_header or not name:
        return False
    return name in hosts or (_is_address(name) and not hosts <= _LOOPBACK)


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server on this host."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_of_this_site(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == host


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookie[COOKIE].value if COOKIE in cookie else ""
