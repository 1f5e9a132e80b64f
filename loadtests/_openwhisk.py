"""The little of the OpenWhisk API that setting up and clearing away needs.

What the users measure goes through Locust's own client; this one is never counted.
"""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from _actions import FAMILIES, Source
from _target import Target, TargetError

TIMEOUT_S = 20.0
COLD_TIMEOUT_S = 90.0  # a first run may have to pull an image
NAMESPACE = "/api/v1/namespaces/_"


def authorization(auth: str) -> str:
    return f"Basic {b64encode(auth.encode()).decode()}"


class Host:
    """An OpenWhisk API host with a key."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def family(self) -> str:
        """The language to write actions in: Python where the host offers it.

        Raises:
            TargetError: the host cannot be reached, is no OpenWhisk host, refuses the
                key, or offers neither language.
        """
        offered = self._runtimes()
        self._answer("GET", f"{NAMESPACE}/actions?limit=1")
        for family in FAMILIES:
            if offered is None or offered.get(family):
                return family
        known = " or ".join(FAMILIES)
        raise TargetError(f"{self.target.url}: offers no runtime for {known}")

    def put(self, name: str, source: Source, *, family: str) -> None:
        body = {"exec": {"kind": f"{family}:default", "code": source.of(family)}}
        self._answer("PUT", f"{NAMESPACE}/actions/{name}?overwrite=true", body)

    def invoke(self, name: str, arguments: object) -> None:
        """Run it once and wait for its end."""
        path = f"{NAMESPACE}/actions/{name}?blocking=true&result=true"
        self._answer("POST", path, arguments, timeout_s=COLD_TIMEOUT_S)

    def delete(self, name: str) -> None:
        """Delete an action; one that is not there is fine."""
        try:
            self._answer("DELETE", f"{NAMESPACE}/actions/{name}")
        except _Refused as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def _runtimes(self) -> dict[str, list[object]] | None:
        """None where GET / is hidden, as behind some gateways."""
        try:
            info = self._answer("GET", "/")
        except _Refused:
            return None
        runtimes = info.get("runtimes") if isinstance(info, dict) else None
        return runtimes if isinstance(runtimes, dict) else None

    def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        request = Request(  # noqa: S310 (the target is http or https)
            self.target.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": authorization(self.target.auth),
                "Content-Type": "application/json",
            },
        )
        try:
            with urlopen(request, timeout=timeout_s, context=self._tls()) as answer:  # noqa: S310
                return _json(answer.read())
        except HTTPError as error:
            with error:
                raise _Refused(self.target.url, error.code, error.read()) from error
        except (URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise TargetError(f"{self.target.url}: no answer: {reason}") from error

    def _tls(self) -> ssl.SSLContext | None:
        if not self.target.url.startswith("https:"):
            return None
        context = ssl.create_default_context()
        if self.target.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Refused(TargetError):
    """The host answered, and not with a success."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(f"{url}: {_reading(status, body)}")


def _reading(status: int, body: bytes) -> str:
    if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
        return f"the host refuses the key (HTTP {status})"
    answer = _json(body)
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        return f"{_one_line(answer['error'])} (HTTP {status})"
    return f"not an answer of an OpenWhisk API host (HTTP {status})"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json(body: bytes) -> Any:
    """None for what is not JSON: a host that is something else answers with HTML."""
    try:
        return json.loads(body)
    except ValueError:
        return None
