"""One libcurl handle and everything that rides on it: set up once, loaded with a request, read out as an outcome.

What makes a page cheap here: the handle and its callbacks are reused, header lines and body chunks are
appended straight to lists from C, nothing is parsed before the page is done, and options that did not change
are not set again. The handle never follows, decodes, caches names or reads the environment.
"""

from __future__ import annotations

import _socket
import fcntl
import functools
import os
import socket
import ssl
import termios
import time
from typing import Any

import msgspec
import pycurl

from cormorant.errors import UsageError
from cormorant.interfaces import Deliver
from cormorant.messages import Failure, Headers, Kind, Outcome, Page, Request, Timings, failed, first_value
from cormorant.options import Options
from cormorant.transport import guard
from cormorant.transport.decode import decode
from cormorant.transport.faults import LOCAL_ERRNOS, kind_of
from cormorant.transport.head import Head, content_encoding, has_two_lengths, parse_head

ACCEPT_ENCODING = "Accept-Encoding: gzip, deflate, br, zstd"
QUICK_EXIT = 322  # CURLOPT_QUICK_EXIT, unnamed in pycurl: else closing a handle joins a hung getaddrinfo (9 s)
SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, unnamed too: a proxy's own answer is no page
NO_BODY_READS_BYTES = 64 * 1024  # with no_body, a smaller body is read away to keep the connection
MAX_CONNECTION_AGE_SECONDS = 600
CURL_HTTP_VERSION_1_1 = 2
NO_BYTES = bytes(4)  # an int of zero
HTTP_VERSIONS = {1: "1.0", 2: "1.1", 3: "2", 4: "2", 5: "2", 30: "3", 31: "3"}

PREREQ_OK, PREREQ_ABORT = int(pycurl.PREREQFUNC_OK), int(pycurl.PREREQFUNC_ABORT)

Connection = tuple[str, str, int, int]


class Connections:
    """Which descriptor carries which connection: shared by the handles of one transport.

    libcurl hands a kept connection out again without a look at it when it was used within the last second
    (lib/conncache.c), and then takes bytes a server sent too much for the answer to the NEXT request: a wrong
    page for an URL, which RFC 9112 9.2 forbids. So every reuse is looked at here first.
    """

    def __init__(self) -> None:
        self._known: dict[Connection, tuple[int, bool]] = {}
        self._connection_on: dict[int, Connection] = {}
        self._distrusted: set[Connection] = set()

    def remember(self, connection: Connection, descriptor: int, one_at_a_time: bool) -> None:
        """Note a new connection; a descriptor used again forgets the old one, so this is bounded by open files.

        Where several answers travel at once (HTTP/2) readable bytes say nothing, and are not looked at.
        """
        self._known.pop(self._connection_on.get(descriptor, connection), None)
        self._connection_on[descriptor] = connection
        self._known[connection] = (descriptor, one_at_a_time)

    def descriptor_of(self, connection: Connection) -> int | None:
        """Return what carries a connection that was used before."""
        known = self._known.get(connection)
        return known[0] if known is not None else None

    def distrust(self, connection: Connection) -> None:
        """Have the connection replaced before it is used again."""
        self._distrusted.add(connection)

    def may_be_used(self, connection: Connection) -> bool:
        """Return whether nothing waits to be read on a connection on which nothing was asked yet."""
        if connection in self._distrusted:
            self._distrusted.discard(connection)
            return False
        known = self._known.get(connection)
        if known is None or not known[1]:
            return True
        # Not by poll(): in a process that gevent has patched it would switch, and we are inside libcurl.
        try:
            return fcntl.ioctl(known[0], termios.FIONREAD, NO_BYTES) == NO_BYTES
        except OSError:
            return True  # closed: libcurl will notice


class _HandedOver(_socket.socket):
    """A socket for libcurl: pycurl duplicates its descriptor and drops it, so it is closed then, without a warning."""

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


class Exchange:
    """One reusable handle. Not thread-safe; `interrupt` alone may be called from another thread.

    `began` is the monotonic instant of the last load; without `counts_time` libcurl knows no total deadline.
    """

    __slots__ = (
        "_asked_at",
        "_chunks",
        "_connection",
        "_connections",
        "_counts_time",
        "_descriptor",
        "_dialled",
        "_discarded",
        "_fetched_at",
        "_fresh",
        "_guarded",
        "_head",
        "_loaded_headers",
        "_loaded_seconds",
        "_max_body",
        "_no_body",
        "_options",
        "_plain",
        "_refusal",
        "_surplus",
        "_told",
        "began",
        "curl",
        "deliver",
        "is_interrupted",
        "loads",
        "name_seconds",
        "request",
    )

    def __init__(self, options: Options, connections: Connections, counts_time: bool = True) -> None:
        self.curl: Any = pycurl.Curl()
        self.request: Request
        self.deliver: Deliver | None = None
        self._connections = connections
        self._connection: Connection | None = None
        self._counts_time = counts_time
        self._descriptor: int | None = None
        self._head: list[bytes] = []
        self._chunks: list[bytes] = []
        self._guarded = not options.allow_private
        self._options = options
        self._max_body: int | None = None  # that of the request loaded; None: as the options say
        self._loaded_headers: Headers = ()
        self._loaded_seconds = 0.0
        self._plain = True
        self._refusal: tuple[Kind, str] | None = None
        self._surplus = self._fresh = self._dialled = False
        self._told = ""
        self.is_interrupted = False
        self.loads = 0
        self.name_seconds = 0.0
        self._asked_at = self._fetched_at = self.began = 0.0
        self._set_up(options)

    def _set_up(self, options: Options) -> None:
        put = self.curl.setopt
        put(pycurl.NOSIGNAL, 1)
        put(pycurl.DNS_CACHE_TIMEOUT, 0)  # else every transfer walks all cached names
        put(QUICK_EXIT, 1)
        put(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        put(pycurl.HTTP_CONTENT_DECODING, 0)
        put(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        put(pycurl.PATH_AS_IS, 1)
        put(pycurl.NETRC, pycurl.NETRC_IGNORED)
        put(pycurl.PROXY, options.proxy or "")  # "": the environment's proxies are not asked for
        put(pycurl.NOPROXY, "")
        put(SUPPRESS_CONNECT_HEADERS, 1)
        put(pycurl.MAXLIFETIME_CONN, MAX_CONNECTION_AGE_SECONDS)
        put(pycurl.CONNECTTIMEOUT_MS, _milliseconds(options.connect_timeout))
        put(pycurl.USERAGENT, options.user_agent)
        put(pycurl.HTTPHEADER, [ACCEPT_ENCODING])
        put(pycurl.SSL_VERIFYPEER, 0 if options.insecure else 1)
        put(pycurl.SSL_VERIFYHOST, 0 if options.insecure else 2)
        for option, path in ca_options():
            put(option, path)
        put(pycurl.HEADERFUNCTION, self._head.append)
        self._set_limit(None)
        put(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        put(pycurl.SOCKOPTFUNCTION, self._note_descriptor)
        put(pycurl.PREREQFUNCTION, self._before_request)

    def load(self, request: Request) -> None:
        """Make the handle ready for one hop."""
        self.request = request
        self._refusal = None
        self._connection = self._descriptor = None
        self._surplus = self._dialled = False
        self._discarded = 0
        self.loads += 1
        self.name_seconds = 0.0
        self._head.clear()
        self._chunks.clear()
        self.curl.setopt(pycurl.URL, request.target)
        if request.seconds != self._loaded_seconds and self._counts_time:
            self.curl.setopt(pycurl.TIMEOUT_MS, _milliseconds(request.seconds))
            self._loaded_seconds = request.seconds
        if request.headers != self._loaded_headers:
            self.curl.setopt(pycurl.HTTPHEADER, _lines(request.headers))
            self._loaded_headers = request.headers
        if request.max_body != self._max_body:
            self._set_limit(request.max_body)
        if request.method != "GET" or not self._plain:
            self._set_method(request)
        self._asked_at, self.began, self._fetched_at = 0.0, time.monotonic(), time.time()

    def _set_limit(self, max_body: int | None) -> None:
        """Read so much of a body; None: as the options say, which may mean none of it."""
        self._max_body = max_body
        self._no_body = self._options.no_body and max_body is None
        self.curl.setopt(pycurl.MAXFILESIZE_LARGE, 0 if self._no_body else self._most_bytes)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._discard if self._no_body else self._chunks.append)

    @property
    def _most_bytes(self) -> int:
        return self._options.max_body if self._max_body is None else self._max_body

    def _set_method(self, request: Request) -> None:
        put = self.curl.setopt
        self.curl.unsetopt(pycurl.CUSTOMREQUEST)
        put(pycurl.NOBODY, 0)
        put(pycurl.HTTPGET, 1)
        self._plain = request.method == "GET"
        if request.method == "HEAD":
            put(pycurl.NOBODY, 1)
        elif not self._plain:
            put(pycurl.POSTFIELDS, request.body or b"")
            put(pycurl.CUSTOMREQUEST, request.method)

    def use_addresses(self, host: str, port: int, addresses: tuple[str, ...]) -> None:
        """Have libcurl dial these for the loaded request, and forget what the handle told it of another host."""
        pair = f"{host}:{port}"
        told = f"{pair}:{','.join(f'[{address}]' if ':' in address else address for address in addresses)}"
        # Told every time: another handle of the same multi may have had the pair forgotten meanwhile.
        self.curl.setopt(pycurl.RESOLVE, [f"-{self._told}", told] if self._told not in ("", pair) else [told])
        self._told = pair

    def use_fresh_connection(self, fresh: bool) -> None:
        """Choose whether the next hop may use a kept connection."""
        if fresh != self._fresh:
            self._fresh = fresh
            self.curl.setopt(pycurl.FRESH_CONNECT, 1 if fresh else 0)

    @property
    def must_be_made_again(self) -> bool:
        """Whether the hop was stopped before it began, because its kept connection was not to be used."""
        return self._surplus

    @property
    def descriptor(self) -> int | None:
        """What carries the hop, as far as is known: a kept connection, or what was dialled last."""
        connection = self._connection  # None: it still dials
        known = self._connections.descriptor_of(connection) if connection is not None else None
        return self._descriptor if known is None else known

    def interrupt(self) -> None:
        """Make a blocking transfer on this handle end soon, and every later one at once; from any thread."""
        self.is_interrupted = True  # libcurl would make a hop again whose kept connection broke
        descriptor = self.descriptor
        if descriptor is not None:
            try:
                with socket.socket(fileno=os.dup(descriptor)) as same:
                    same.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected, or closed a moment ago: it ends by itself

    # --- what libcurl calls; must not raise, must not switch greenlets ---

    def _open_socket(self, _purpose: int, address: Any) -> Any:
        self._dialled = True
        if self.is_interrupted:
            return pycurl.SOCKET_BAD
        if self._guarded and not guard.is_public(address.addr[0]):
            self._refusal = (Kind.BLOCKED, f"address {address.addr[0]} is private (allow_private is off)")
            return pycurl.SOCKET_BAD
        try:
            handed_over = _HandedOver(address.family, address.socktype, address.protocol)
            os.close(os.dup(handed_over.fileno()))  # pycurl will duplicate it, and does not say why when it cannot
            return handed_over
        except OSError as error:
            if error.errno in LOCAL_ERRNOS:
                self._refusal = (Kind.LOCAL, f"no socket: {error.strerror}")
            return pycurl.SOCKET_BAD

    def _note_descriptor(self, descriptor: int, _purpose: int) -> int:
        self._descriptor = descriptor
        self._refusal = None  # an earlier address of the same name was refused; this one is dialled
        return int(pycurl.SOCKOPT_OK)

    def _before_request(self, ip: str, local_ip: str, port: int, local_port: int) -> int:
        self._connection = (ip, local_ip, port, local_port)
        self._asked_at = time.monotonic()
        if self.is_interrupted:
            return PREREQ_ABORT
        if self._connections.may_be_used(self._connection):
            return PREREQ_OK
        self._surplus = True
        return PREREQ_ABORT

    def _discard(self, chunk: bytes) -> int:
        """Throw bytes away; end the transfer (write error 23) once reading on costs more than a new connection."""
        self._discarded += len(chunk)
        return len(chunk) if self._discarded <= NO_BODY_READS_BYTES else 0

    # --- reading out ---

    def outcome(self, error: tuple[int, str] | None) -> Outcome:
        """Return what the hop gave; `error` is libcurl's code and words, or None. Nothing of it is kept."""
        outcome = self._read_out(error)
        self._connection = self._descriptor = None
        self._chunks.clear()
        return outcome

    def _read_out(self, error: tuple[int, str] | None) -> Outcome:
        head = parse_head(self._head)
        if self._connection is not None:
            self._note_connection(self._connection, head)
        if error is None and not head.status:
            error = (pycurl.E_WEIRD_SERVER_REPLY, "no final status line")
        if error is not None and not (self._no_body and head.status):  # the head was all that was asked for
            return self._failure(error, head)
        if head.is_plain:  # libcurl has seen to the limit
            return self._page(head, b"".join(self._chunks))
        decoded = decode(self._chunks, content_encoding(head.headers), self._most_bytes)
        page = self._page(head, decoded.body)
        if decoded.problem is None:
            return page
        return failed(page, decoded.problem, decoded.message or decoded.problem.value, "body")

    def _page(self, head: Head, body: bytes) -> Page:
        request = self.request
        return Page(
            url=request.url,
            status=head.status,
            headers=head.headers,
            body=body,
            input=request.input,
            line=request.line,
            final_url=request.target,
            attempts=request.attempts,
            redirects=request.redirects,
            found=request.found,
            fetched_at=self._fetched_at,
            timings=self._timings(),
            ip=self.curl.getinfo(pycurl.PRIMARY_IP) or None,
            http_version=HTTP_VERSIONS.get(self.curl.getinfo(pycurl.INFO_HTTP_VERSION)),
        )

    def _note_connection(self, connection: Connection, head: Head) -> None:
        if self.curl.getinfo(pycurl.NUM_CONNECTS):
            descriptor = self.curl.getinfo(pycurl.ACTIVESOCKET)
            if descriptor >= 0:
                version = self.curl.getinfo(pycurl.INFO_HTTP_VERSION)
                self._connections.remember(connection, descriptor, version <= CURL_HTTP_VERSION_1_1)
        if not head.is_plain and has_two_lengths(head.headers):
            self._connections.distrust(connection)

    def _failure(self, error: tuple[int, str], head: Head) -> Failure:
        code, words = error
        kind = kind_of(code, words, self.curl.getinfo(pycurl.OS_ERRNO), bool(self._head), head.status != 0)
        if self.is_interrupted:
            kind, words = Kind.CANCELLED, "stopped before it ended"
        elif self._refusal is not None:
            kind, words = self._refusal
        elif kind is Kind.TOO_LARGE:
            words = f"the body is larger than {self._most_bytes:,} bytes; max_body raises the limit"
        body = b""
        if kind is Kind.TRUNCATED:
            body = decode(self._chunks, content_encoding(head.headers), self._most_bytes).body
        page = self._page(head, body)
        failure = failed(page, kind, words or f"libcurl error {code}, without a word", self._phase())
        return failure if head.status else msgspec.structs.replace(failure, status=None)

    def _timings(self) -> Timings:
        get = self.curl.getinfo
        dns, connected = get(pycurl.NAMELOOKUP_TIME_T), get(pycurl.CONNECT_TIME_T)
        secured, asked = get(pycurl.APPCONNECT_TIME_T), get(pycurl.PRETRANSFER_TIME_T)
        began, total = get(pycurl.STARTTRANSFER_TIME_T), get(pycurl.TOTAL_TIME_T)
        return Timings(
            queue=self._queued(max(dns, connected, secured) / 1e6),
            dns=self.name_seconds + dns / 1e6,
            connect=(connected - dns) / 1e6 if connected > dns else 0.0,
            tls=(secured - connected) / 1e6 if secured > connected else 0.0,
            first_byte=(began - asked) / 1e6 if began > asked else 0.0,
            body=(total - began) / 1e6 if began else 0.0,
            total=self.name_seconds + total / 1e6,
        )

    def _queued(self, connecting: float) -> float:
        """Return the seconds from the scheduler's word to the request that no phase holds."""
        until = (self._asked_at - connecting if self._asked_at else self.began) - self.name_seconds
        return max(0.0, until - self.request.released_at) if self.request.released_at else 0.0

    def _phase(self) -> str:
        """Return the phase in which the hop ended; of its times libcurl sets some on failure too."""
        if self._head:
            return "body"
        if self._connection is not None:
            return "first_byte"
        if self.curl.getinfo(pycurl.CONNECT_TIME_T) and self.request.target.startswith("https"):
            return "tls"
        return "connect" if self._dialled else "dns"

    def close(self) -> None:
        """Drop the handle and its connections."""
        self.curl.close()


def _lines(headers: Headers) -> list[str]:
    """Return libcurl's spelling: `Name: value`, and `Name;` for an empty value (`Name:` would remove it).

    Our Accept-Encoding goes with them, unless they have their own.
    """
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers]
    return lines if first_value(headers, "accept-encoding") is not None else [ACCEPT_ENCODING, *lines]


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


@functools.cache
def ca_options() -> tuple[tuple[int, str], ...]:
    """Return where trusted certificates are: $SSL_CERT_FILE, else the system's, else certifi's.

    Raises UsageError when $SSL_CERT_FILE names no file: every https page would fail otherwise.
    """
    named = os.environ.get("SSL_CERT_FILE")
    if named:
        if not os.path.isfile(named):
            raise UsageError(f"SSL_CERT_FILE={named}: no such file; name a PEM bundle or unset it")
        return ((pycurl.CAINFO, named),)
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return ((pycurl.CAINFO, paths.cafile),)
    if paths.capath and os.path.isdir(paths.capath) and os.listdir(paths.capath):
        return ((pycurl.CAPATH, paths.capath),)
    import certifi

    return ((pycurl.CAINFO, certifi.where()),)
