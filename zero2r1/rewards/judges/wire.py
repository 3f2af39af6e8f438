"""One HTTP request with a deadline for the whole of it and a limit on the size of the reply.

Standard library only: HTTP clients have time limits for single reads, and a server that sends a byte now and then would
never meet one. It follows no redirect, reads no proxy from the environment, keeps no connection open and asks for no
compression: what it reaches is the address it was given and nothing else.

What is not here: tries after a failure, keys, JSON (`endpoint.py`). The deadline does not cover the lookup of the
host's name, which the system's resolver bounds.
"""

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit


class WireError(Exception):
    """No whole reply came: connection, deadline or size. The message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    retry_after: str
    """The header as it came; empty without one."""
    content_type: str
    body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, max_bytes: int) -> Reply:
    """Send `body` and read the reply.

    Args:
        url: `http://` or `https://`.
        body: as it travels.
        headers: their names and values; no line breaks.
        timeout_s: seconds for the whole exchange, however slowly the bytes arrive.
        max_bytes: longest body accepted.

    Raises:
        WireError: there is no whole reply.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: HTTPConnection
    if parts.scheme == "https":
        connection = HTTPSConnection(host, parts.port, timeout=timeout_s, context=ssl.create_default_context())
    else:
        connection = HTTPConnection(host, parts.port, timeout=timeout_s)
    deadline = _Deadline(timeout_s)
    try:
        reply = _exchange(connection, parts.path, body, headers, max_bytes, deadline)
        reason = ""
    except (OSError, HTTPException, UnicodeError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
    finally:
        deadline.cancel()
        connection.close()
    # Asked for even without an exception: a connection that was cut can look like the regular end of a reply. And no
    # exception is chained: what those of http.client carry may hold headers.
    if deadline.is_over:
        raise WireError(f"no whole reply within {timeout_s:g} s")
    if reason:
        raise WireError(reason)
    return reply


class _Deadline:
    """Cuts a socket from another thread when the time is up, so that every read and write on it ends."""

    def __init__(self, timeout_s: float) -> None:
        self._over = threading.Event()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def hold(self, connected: socket.socket) -> None:
        """The socket to cut; http.client itself forgets it before the body is read."""
        self._socket = connected
        if self.is_over:
            raise TimeoutError("connected too late")

    def cancel(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self._over.set()
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not SSLSocket's own, which a thread is using


def _exchange(
    connection: HTTPConnection,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    max_bytes: int,
    deadline: _Deadline,
) -> Reply:
    connection.connect()
    deadline.hold(connection.sock)
    connection.request("POST", path, body=body, headers=dict(headers))
    response = connection.getresponse()
    try:
        return _read(response, max_bytes)
    finally:
        response.close()


def _read(response: HTTPResponse, max_bytes: int) -> Reply:
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise HTTPException(f"the reply is longer than {max_bytes} bytes")
    if response.length:  # what the server announced and did not send
        raise HTTPException("the reply ended early")
    return Reply(
        status=response.status,
        retry_after=response.getheader("Retry-After") or "",
        content_type=response.getheader("Content-Type") or "",
        body=body,
    )
