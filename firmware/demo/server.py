"""The server of the page, for this computer alone.

It listens on the loopback interface. That does not keep away other pages in the user's browser, so a request must name
this computer as its host, which a page that lets its own name point here (DNS rebinding) does not; and what asks for
work must come from the page itself (``Origin``). Nothing but the files of :data:`FILES` is ever read.
"""

import logging
import os
import socket
import sys
import threading
import traceback
from importlib import resources
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from firmware.demo.answers import comparison, description
from firmware.demo.board import Board, State
from firmware.demo.inputs import choose, read_request
from firmware.demo.networks import Catalogue
from firmware.host.errors import DeviceError
from support.errors import InputError

__all__ = ["ADDRESS", "FILES", "MAX_BODY_BYTES", "Server", "create_app"]

#: The loopback interface.
ADDRESS = "127.0.0.1"
#: Files of the page and their types.
FILES = {"index.html": "text/html", "style.css": "text/css", "icon.svg": "image/svg+xml", "main.js": "text/javascript",
         "pad.js": "text/javascript", "pictures.js": "text/javascript", "results.js": "text/javascript",
         "service.js": "text/javascript"}
#: Most bytes of a request: a file of 16 MiB in base64, and what stands around it.
MAX_BODY_BYTES = 23 * 2**20
#: Seconds after which a connection that sends nothing is closed.
_IDLE_SECONDS = 60
#: Seconds between two looks whether the server must end.
_POLL_SECONDS = 0.05
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(board: Board, catalogue: Catalogue, *, port: str) -> Flask:
    """Return the application; what goes wrong is answered with an object whose ``error`` is one line.

    Parameters
    ----------
    board : :class:`firmware.demo.board.Board`
    catalogue : :class:`firmware.demo.networks.Catalogue`
    port : :class:`str`
        The board's port, as the user named it.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    folder = resources.files("firmware.demo") / "page"
    contents = {name: (folder / name).read_bytes() for name in FILES}

    @app.before_request
    def _check_sender() -> tuple[Response, int] | None:
        """Refuse what a page of somebody else may have sent."""
        own = {f"{name}:{request.environ['SERVER_PORT']}" for name in (ADDRESS, "localhost")}
        if request.headers.get("Host") not in own:
            return _error(f"host must be {' or '.join(sorted(own))}", 403)
        if request.method not in ("GET", "HEAD") and request.headers.get("Origin") != f"http://{request.host}":
            return _error(f"origin must be http://{request.host}, the page itself", 403)
        return None

    @app.get("/")
    @app.get("/<name>")
    def _file(name: str = "index.html") -> Response | tuple[Response, int]:
        if name not in contents:
            return _error("no such page", 404)
        return Response(contents[name], content_type=f"{FILES[name]}; charset=utf-8")

    @app.get("/api/board")
    def _board() -> Response:
        return jsonify(description(board.status, catalogue, port))

    @app.post("/api/classify")
    def _classify() -> Response | tuple[Response, int]:
        # The limit is that of a length that is told before anything is read: what is beyond it in chunks would be lost.
        if request.content_length is None:
            return _error("request must tell its length in a header Content-Length", 411)
        wanted = read_request(request.get_data())
        if board.status.state is State.STARTING and not board.status.models:
            return _error(f"board is not ready: {board.status.text}", 503)
        known = catalogue.find(wanted.network)
        if known is None:
            return _error(f"no file of a network with the sha256 {wanted.network} is known: reload the page", 404)
        chosen = choose(wanted.input, known)
        answer = board.classify(wanted.network, chosen.image)
        # Meanwhile.
        expected = known.reference.classify(chosen.image, spikes=True)
        return jsonify(comparison(known, chosen, expected, answer.result()))

    @app.after_request
    def _protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(DeviceError)
    def _unavailable(error: DeviceError) -> tuple[Response, int]:
        return _error(str(error), 503)

    @app.errorhandler(InputError)
    def _bad_input(error: InputError) -> tuple[Response, int]:
        return _error(str(error), 400)

    @app.errorhandler(HTTPException)
    def _refused(error: HTTPException) -> tuple[Response, int]:
        if error.code == 413:
            return _error(f"request must have at most {MAX_BODY_BYTES} bytes: a file of 16 MiB", 413)
        return _error(error.name.lower(), error.code or 500)

    @app.errorhandler(Exception)
    def _mistake(error: Exception) -> tuple[Response, int]:
        traceback.print_exception(error, file=sys.stderr)
        return _error(f"{type(error).__name__}, a mistake of the demonstration: see the terminal", 500)

    return app


def _error(line: str, status: int) -> tuple[Response, int]:
    return jsonify(error=line), status


class _Handler(WSGIRequestHandler):
    """Handles a connection in its thread; silent."""

    timeout = _IDLE_SECONDS

    def log(self, type: str, message: str, *args: Any) -> None:
        logging.getLogger(__name__).debug(message, *args)


class Server:
    """The application at an address, in threads of its own. Use it as a context manager.

    Parameters
    ----------
    app : :class:`flask.Flask`
    listen_port : :class:`int`
        TCP port; 0 for one that is free.

    Raises
    ------
    :exc:`support.errors.InputError`
        If somebody else listens there, or nobody may.
    """

    def __init__(self, app: Flask, listen_port: int) -> None:
        try:
            # By ourselves: Werkzeug prints what is wrong, and ends the program.
            listening = socket.create_server((ADDRESS, listen_port))
        except OSError as error:
            # Python adds the address to the text of the error.
            reason = os.strerror(error.errno) if error.errno else error
            raise InputError(f"--listen-port must be a port that is free, not {listen_port} ({reason}): name another, "
                             "or 0 for any") from None
        with listening:
            self._server: BaseWSGIServer = make_server(ADDRESS, listening.getsockname()[1], app, threaded=True,
                                                       request_handler=_Handler, fd=listening.fileno())
        #: Where the page is.
        self.url = f"http://{ADDRESS}:{self._server.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
