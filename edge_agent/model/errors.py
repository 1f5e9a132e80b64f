"""Every error that may leave a room, and the HTTP status it means.

EdgeWhiskError
├── SettingsError              the settings file or a command line is wrong
├── RequestError               the caller is at fault; `status` is the HTTP status
│   ├── BadRequest             400
│   │   ├── MalformedContent   400, contract A58
│   │   └── MalformedQuery     400, contract A60
│   ├── Unauthorized           401
│   ├── Denied                 401, contract A21 and B63
│   ├── Forbidden              403
│   ├── NotFound               404
│   ├── NoRoute                404, contract A62
│   ├── MethodNotAllowed       405, contract A62
│   ├── NotAcceptable          406
│   ├── BodyTimeout            408
│   ├── Conflict               409
│   ├── TooLarge               413
│   ├── CircularBinding        422, contract A55
│   ├── UriTooLong             414, contract A7
│   ├── BodyTooLarge           400, contract A7
│   ├── UnsupportedMediaType   415
│   └── TooManyRequests        429
│       ├── TooManyInMinute    429, contract A57
│       └── TooManyInFlight    429, contract A57a
├── Unavailable                503: we cannot take it now, nothing was accepted
└── BuiltinError               a built-in action's application error

The texts are the contract's (section a.5) word for word. A failing *action* is
never one of these: it is data in its activation record.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EdgeWhiskError(Exception):
    """Root of our own errors."""


class SettingsError(EdgeWhiskError):
    """A setting is wrong; the text names the key and what is allowed."""


class RequestError(EdgeWhiskError):
    """The caller is at fault; `str(error)` is the answer's `error` text."""

    status: ClassVar[int] = 400
    #: False where upstream refuses before its CORS headers are added (A6).
    cors: bool = True
    #: True for the few that are sent as text instead of JSON (A5).
    plain: ClassVar[bool] = False


class BadRequest(RequestError):
    pass


class MalformedContent(BadRequest):
    """A58: the body is not what the route takes."""

    cors = False

    def __init__(self, detail: str) -> None:
        super().__init__(f"The request content was malformed:\n{detail}")
        self.detail = detail


class MalformedQuery(BadRequest):
    """A60: a query parameter has a value that cannot be."""

    cors = False

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"The query parameter '{parameter}' was malformed:\n{detail}")
        self.parameter = parameter


class IllegalName(BadRequest):
    """A61: an entity name, namespace or activation id that cannot be."""

    cors = False


class Unauthorized(RequestError):
    status = 401
    cors = False


class Denied(RequestError):
    """A21, B63: a door that a subject's key alone does not open."""

    status = 401

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            or "Authentication is possible but has failed or not yet been provided."
        )


class Forbidden(RequestError):
    """A52: names what may not be reached; A52a: a kind that may not be used."""

    status = 403

    def __init__(self, *names: str, kind: str | None = None) -> None:
        listed = "', '".join(names)
        what = f"'{listed}'" if kind is None else f"actions of kind '{kind}'"
        super().__init__(
            f"The supplied authentication is not authorized to access {what}."
        )


class NotFound(RequestError):
    """A53, or A53a when the package's name is given."""

    status = 404

    def __init__(self, name: str | None = None, *, text: str | None = None) -> None:
        named = f" '{name}'" if name else ""
        super().__init__(text or f"The requested resource{named} does not exist.")


class NoRoute(RequestError):
    """A62: no such path, or not with this method."""

    status = 404
    cors = False

    def __init__(self) -> None:
        super().__init__("The requested resource could not be found.")


class MethodNotAllowed(RequestError):
    """A62: `methods` are those that the path serves."""

    status = 405
    cors = False

    def __init__(self, methods: str) -> None:
        super().__init__(f"HTTP method not allowed, supported methods: {methods}")
        self.methods = methods


class NotAcceptable(RequestError):
    """A9: the caller does not take what there is."""

    status = 406
    cors = False

    def __init__(self, media_type: str) -> None:
        super().__init__(
            f"Resource representation is only available with these types:\n{media_type}"
        )


class BodyTimeout(RequestError):
    """The body that was announced did not come (ours; upstream drops the line)."""

    status = 408
    cors = False

    def __init__(self) -> None:
        super().__init__("The request's body did not arrive in time.")


class Conflict(RequestError):
    status = 409


class TooLarge(RequestError):
    """A56, A56a: `what` is `Request`, `exec`, `parameters` or `annotations`."""

    status = 413

    def __init__(self, what: str, *, size: int, limit: int) -> None:
        super().__init__(f"{what} larger than allowed: {size} > {limit} bytes.")


class UriTooLong(RequestError):
    status = 414
    cors = False
    plain = True

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"URI length exceeds the configured limit of {limit} characters"
        )


class CircularBinding(RequestError):
    """A55: only a store that was tampered with has one."""

    status = 422

    def __init__(self, name: str) -> None:
        super().__init__(f"Package binding '{name}' contains a circular reference.")


class BodyTooLarge(RequestError):
    """A7: above what the server reads at all."""

    cors = False
    plain = True

    def __init__(self) -> None:
        super().__init__("Request too large")


class UnsupportedMediaType(RequestError):
    """A72."""

    status = 415
    cors = False

    def __init__(self, content_type: str) -> None:
        super().__init__(
            f"The request's Content-Type [{content_type}] is not supported. "
            "Expected:\napplication/json"
        )


class TooManyRequests(RequestError):
    status = 429


class TooManyInMinute(TooManyRequests):
    """A57: the count has this one in it."""

    def __init__(self, count: int, allowed: int) -> None:
        super().__init__(
            "Too many requests in the last minute "
            f"(count: {count}, allowed: {allowed})."
        )


class TooManyInFlight(TooManyRequests):
    """A57a: the count is of those before this one."""

    def __init__(self, count: int, allowed: int) -> None:
        super().__init__(
            "Too many concurrent requests in flight "
            f"(count: {count}, allowed: {allowed})."
        )


class Unavailable(EdgeWhiskError):
    """A75: queue, inbox or disk is full, or the agent is stopping."""

    status: ClassVar[int] = 503

    def __init__(self, reason: str = "") -> None:
        super().__init__(
            "The server is currently unavailable "
            "(because it is overloaded or down for maintenance)."
        )
        self.reason = reason


class BuiltinError(EdgeWhiskError):
    """A built-in action refuses its arguments or cannot do its work now.

    Its text becomes the application error of the activation, unless another JSON value
    is to be `shown` there.
    """

    def __init__(self, text: str, *, shown: Any = None) -> None:
        super().__init__(text)
        self.shown = text if shown is None else shown
