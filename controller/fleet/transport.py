"""One host's connection: requests, repeats and what became of them.

What is raised is `OpenWhiskError`: the host refused (`status` and `text` are its
words) or could not be reached (`status` 0). `retry` says what is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.lanes import Lanes, OddAnswer
from controller.fleet.retry import BUSY, Retry, may_repeat
from controller.fleet.target import Target
from controller.fleet.wire import ErrorBody
from edge_agent.model.errors import EdgeWhiskError, IllegalName
from edge_agent.model.names import check_name

CONNECT_TIMEOUT_S = 5.0
#: Above the 65 s an OpenWhisk host may take for a blocking invocation (A7).
ANSWER_TIMEOUT_S = 75.0

_FIRST_ERROR = 400
_URLS_MOST = 1_000
_NAMELESS = frozenset({404, 409})
_JSON_HEADERS = {"Content-Type": "application/json"}
#: Raised before anything of the request was sent.
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_ERROR = msgspec.json.Decoder(ErrorBody)
_Answered = TypeVar("_Answered")


class OpenWhiskError(EdgeWhiskError):
    """The host refused, or (status 0) could not be reached or did not answer.

    `code` is the transaction id for the host's log. `maybe_done` says that the
    request may have taken effect although no answer came. `retry_after_s` is the
    host's wish.
    """

    def __init__(
        self,
        status: int,
        text: str,
        code: str = "",
        *,
        maybe_done: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.code = code
        self.maybe_done = maybe_done
        self.retry_after_s = retry_after_s
        #: `actions/hello`, once it is known what was asked for.
        self.place = ""

    def __str__(self) -> str:
        """The host's words; it does not say itself what is missing, or taken."""
        named = self.place and self.status in _NAMELESS
        return f"{self.place}: {self.text}" if named else self.text


class Late(OpenWhiskError):
    """No answer in the time a request is given: it is not given that time again."""


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    activation_id: str = ""
    retry_after: str | None = None

    def decode(self, kind: type[_Answered]) -> _Answered:
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            text = f"the answer is not what an OpenWhisk host says: {error}"
            raise OpenWhiskError(self.status, text) from error

    @property
    def is_outcome(self) -> bool:
        """Whether an error status is how an activation ended: then it has no code."""
        if self.status not in {500, 502} or not self.activation_id:
            return False
        return self.body.startswith(b"[") or self._error().code is None

    def refusal(self) -> OpenWhiskError:
        """What an error status says (A5)."""
        said = self._error()
        text = said.error if isinstance(said.error, str) else ""
        if not text:
            start = self.body[:200].decode(errors="replace").strip()
            text = f"HTTP status {self.status}: {start}".removesuffix(": ")
        wish = _seconds(self.retry_after) if self.status in BUSY else None
        code = str(said.code or "")
        return OpenWhiskError(self.status, text, code, retry_after_s=wish)

    def _error(self) -> ErrorBody:
        try:
            return _ERROR.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return ErrorBody(code="")


class Transport:
    """Sends to one target through a session; many tasks may share it."""

    def __init__(
        self,
        target: Target,
        session: aiohttp.ClientSession,
        *,
        retry: Retry,
        timeout_s: float,
        lanes: Lanes | None = None,
    ) -> None:
        self.session = session
        #: For POSTs, until the host answers in a way that they do not know.
        self._lanes = lanes
        self._target = target
        self._retry = retry
        self._timeout_s = timeout_s
        self._urls: dict[tuple[str, str, str], URL] = {}

    def url(self, collection: str, name: str = "", query: str = "") -> URL:
        """The address of an entity, made once for each: yarl is slow at this."""
        key = (collection, name, query)
        url = self._urls.get(key)
        if url is None:
            namespace, path = _place(name, own=self._target.namespace)
            slash = "/" if path else ""
            base = f"{self._target.url}/api/v1/namespaces/{namespace}/{collection}"
            url = URL(f"{base}{slash}{path}{query}", encoded=True)
            if len(self._urls) >= _URLS_MOST:
                self._urls.clear()
            self._urls[key] = url
        return url

    def entity(self, collection: str, name: str, query: str = "") -> URL:
        """The address of one entity.

        Raises:
            IllegalName: no host would have an entity of that name.
        """
        if (collection, name, query) not in self._urls:
            _check(collection, name)
        return self.url(collection, name, query)

    async def send(
        self,
        method: str,
        url: URL,
        body: bytes | None = None,
        *,
        idempotent: bool = False,
        outcomes: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send, again where that is harmless, and raise what the host refuses.

        `outcomes`: an error status may be how an activation ended (A67-A69).
        """
        attempt = 1
        while True:
            try:
                reply = await self._once(method, url, body, headers)
                if reply.status < _FIRST_ERROR or (outcomes and reply.is_outcome):
                    return reply
                raise reply.refusal()
            except OpenWhiskError as error:
                error.place = url.path.partition("/namespaces/")[2].partition("/")[2]
                pause_s = self._pause_s(error, attempt, idempotent=idempotent)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
            attempt += 1

    def _pause_s(
        self, error: OpenWhiskError, attempt: int, *, idempotent: bool
    ) -> float | None:
        if isinstance(error, Late) or not may_repeat(
            error.status, maybe_done=error.maybe_done, idempotent=idempotent
        ):
            return None
        return self._retry.wait_s(attempt, asked_s=error.retry_after_s)

    async def _once(
        self,
        method: str,
        url: URL,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Reply:
        if self._lanes is not None and method == "POST" and body:
            return await self._posted(self._lanes, url, body, headers)
        given = {} if body is None else _JSON_HEADERS
        try:
            async with self.session.request(
                method,
                url,
                data=body,
                headers={**given, **headers} if headers else given,
                ssl=not self._target.insecure,
                allow_redirects=False,
            ) as answer:
                found = answer.headers
                return Reply(
                    answer.status,
                    await answer.read(),
                    found.get("x-openwhisk-activation-id", ""),
                    found.get("Retry-After"),
                )
        except aiohttp.ClientError as error:
            raise self._broken(error) from error
        except TimeoutError as error:
            text = f"{self._target.url}: no answer within {self._timeout_s:g} s"
            raise Late(0, text, maybe_done=True) from error

    async def _posted(
        self, lanes: Lanes, url: URL, body: bytes, headers: Mapping[str, str] | None
    ) -> Reply:
        here, timeout_s = self._target.url, self._timeout_s
        try:
            answer = await lanes.post(url, body, headers=headers, timeout_s=timeout_s)
            return Reply(*answer)
        except OddAnswer as error:
            self._lanes = None
            text = f"{here}: an answer without its length"
            raise OpenWhiskError(0, text, maybe_done=True) from error
        except TimeoutError as error:
            text = f"{here}: no answer within {timeout_s:g} s"
            raise Late(0, text, maybe_done=True) from error
        except ConnectionResetError as error:
            text = f"{here}: the connection broke: {error}"
            raise OpenWhiskError(0, text, maybe_done=True) from error
        except OSError as error:
            text = f"{here}: cannot connect: {error.strerror or error}"
            raise OpenWhiskError(0, text) from error

    def _broken(self, error: aiohttp.ClientError) -> OpenWhiskError:
        sent = not isinstance(error, _UNSENT)
        what = "the connection broke" if sent else "cannot connect"
        cause = getattr(error, "os_error", None)
        reason = getattr(cause, "strerror", None) or cause or error
        text = f"{self._target.url}: {what}: {reason}"
        return OpenWhiskError(0, text, maybe_done=sent)


def _check(collection: str, name: str) -> None:
    """Raise for a name that cannot be (A10): `/ns/` before it, `pkg/` for actions."""
    path = name[1:].partition("/")[2] if name.startswith("/") else name
    segments = path.split("/")
    if len(segments) > (2 if collection == "actions" else 1):
        raise IllegalName(f"{collection}: '{name}' has too many parts")
    for segment in segments:
        try:
            check_name(segment)
        except IllegalName as error:
            raise IllegalName(f"{collection}: '{name}': {error}") from error


def _place(name: str, *, own: str) -> tuple[str, str]:
    """Namespace and path of a name, both fit for a URL."""
    namespace, path = own, name
    if name.startswith("/"):
        namespace, _, path = name[1:].partition("/")
    return quote(namespace, safe=""), quote(path, safe="/")


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
