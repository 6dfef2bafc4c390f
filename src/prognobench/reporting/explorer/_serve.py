"""Start the explorer: on this machine alone, without any debugging aid."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from prognobench.frame import InputError, Problem

if TYPE_CHECKING:
    from ._app import Explorer

HOST = "127.0.0.1"  # never anything else: who asks has not been asked who they are
_EXTRA = "prognobench[explore]"


def explore(
    results: Path,
    console: Console | None = None,
    *,
    port: int = 8050,
    show_images: bool = False,
    cohorts: Sequence[Path] = (),
    identifiers: bool = False,
) -> None:
    """Show a results folder in the browser until interrupted; what a running study adds appears by itself.

    Parameters
    ----------
    results
        The folder that `run` fills or will fill.
    console
        Where to print the address.
    port
        Of 127.0.0.1; 0 takes a free one.
    show_images
        Whether films may be looked at, from the image cache of the cohorts.
    cohorts
        The `cohort.yaml` of the films that may be looked at; by default those that the study's plan names.
    identifiers
        Whether patients and films are called by their own names and not by pseudonyms.

    Raises
    ------
    InputError
        There is no such folder or cohort file, the port is taken, or Dash is not installed.
    """
    app = explorer_app(results, port=port, show_images=show_images, cohorts=cohorts, identifiers=identifiers)
    from werkzeug.serving import make_server  # comes with Dash

    try:
        # Werkzeug itself ends the program where a port is taken.
        listening = socket.create_server((HOST, port))
    except OSError as error:
        app.stop()
        what = f"the port {port} of {HOST} cannot be used ({error.strerror})"
        raise InputError([Problem("argument --port", what, f"Give another one, such as --port {port + 1}")]) from None
    app.port = listening.getsockname()[1]
    server = make_server(HOST, app.port, app.dash.server, threaded=True, fd=listening.fileno())
    # Every request as a line would bury what matters.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    if console is not None:
        console.print(Text(f"http://{HOST}:{app.port}/"), soft_wrap=True)
        console.print("Open this address in a browser on this machine; Ctrl-C ends it.", highlight=False)
    try:
        server.serve_forever()
    finally:
        app.stop()
        server.server_close()
        listening.close()


def explorer_app(
    results: Path,
    *,
    port: int = 8050,
    show_images: bool = False,
    cohorts: Sequence[Path] = (),
    identifiers: bool = False,
) -> Explorer:
    """Return the explorer of a results folder without a server: `dash.server` is a WSGI application.

    Parameters
    ----------
    results, port, show_images, cohorts, identifiers
        As `explore` takes them; requests must name this port.

    Raises
    ------
    InputError
        There is no such folder or cohort file, or Dash is not installed.
    """
    _need_dash()
    from ._app import Explorer

    if not results.is_dir():
        what = "there is no such folder"
        remedy = "Give the folder that `prognobench run --results` fills"
        raise InputError([Problem(str(results), what, remedy)])
    missing = [
        Problem(str(path), "there is no such file", "Give a cohort.yaml") for path in cohorts if not path.is_file()
    ]
    if missing:
        raise InputError(missing)
    return Explorer(results, port, show_images=show_images, cohorts=cohorts, identifiers=identifiers)


def _need_dash() -> Any:
    try:
        import dash
    except ImportError:
        what = "the explorer is made with Dash, which is not installed"
        raise InputError([Problem("dash", what, f"Run `pip install '{_EXTRA}'`")]) from None
    return dash
