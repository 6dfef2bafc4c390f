"""Who may ask, and what a browser may do with the answer.

The explorer asks nobody for a name, so it must answer nobody but a browser on this machine that was pointed at it. A
page from elsewhere can make that browser ask: under a name of its own that leads to 127.0.0.1 (DNS rebinding), or
straight away with a form or a script. Other names than our own are refused, and so is what another page sends.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, abort, request

_NAMES = ("127.0.0.1", "localhost")
_MOST = 1 << 20  # bytes of a request
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def guard(server: Flask, port: Callable[[], int], scripts: Callable[[], list[str]]) -> None:
    """Refuse what does not come from this machine's own browser, and tell the browser to load nothing from elsewhere.

    Parameters
    ----------
    server
        The application.
    port
        The port that it answers at.
    scripts
        The hashes of the scripts that stand within its page.
    """
    server.config["MAX_CONTENT_LENGTH"] = _MOST

    @server.before_request
    def _refuse() -> None:
        names = {f"{name}:{port()}" for name in _NAMES} | (set(_NAMES) if port() == 80 else set())
        if request.headers.get("Host", "") not in names:
            abort(421, "This address is not the explorer's.")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{name}" for name in names}:
            abort(403, "Another page asked.")
        # A link from elsewhere may open a page of the explorer; a page from elsewhere may not let it compute.
        asked = request.headers.get("Sec-Fetch-Site", "none")
        opens = request.method == "GET" and request.headers.get("Sec-Fetch-Dest") == "document"
        if asked in ("cross-site", "same-site") and not opens:
            abort(403, "Another page asked.")
        if request.method not in ("GET", "HEAD", "POST"):
            abort(405)

    @server.after_request
    def _bound(response: Response) -> Response:
        allowed = " ".join(["'self'", *scripts()])
        # Plotly sets styles one by one, and draws what it saves through a blob.
        policy = (
            f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
            "img-src 'self' data: blob:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        for name, value in (_HEADERS | {"Content-Security-Policy": policy}).items():
            response.headers[name] = value
        if not request.path.startswith(("/_dash-component-suites/", "/assets/")):
            response.headers["Cache-Control"] = "no-store"
        return response
