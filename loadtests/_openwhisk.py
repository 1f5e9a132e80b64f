"""The little of the OpenWhisk API that setting up and clearing away needs.

What the users measure goes through Locust's own client; this one is never counted.
"""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from _actions import FAMILIES
from _target import Target, TargetError

TIMEOUT_S = 20.0
COLD_TIMEOUT_S = 90.0  # a first run may have to pull an image
NAMESPACE = "/api/v1/namespaces/_"


def authorization(auth: str) -> str:
    return f"Basic {b64encode(auth.encode()).decode()}"


@cache
def tls_context(*, insecure: bool, ca_file: str) -> ssl.SSLContext:
    """How a host's certificate is judged.

    Raises:
        TargetError: the file of authorities cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise TargetError(f"--ca-file {ca_file}: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Host:
    """An OpenWhisk API host with a key."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def family(self, wanted: str | None = None) -> str:
        """The language to write actions in: `wanted`, else Python where there is one.

        Raises:
            TargetError: the host cannot be reached, is no OpenWhisk host, refuses the
                key, or does not offer the language.
        """
        offered = self._runtimes()
        self._answer("GET", f"{NAMESPACE}/actions?limit=1")
        languages = [wanted] if wanted else FAMILIES
        for family in languages:
            if offered is None or offered.get(family):
                return family
        known = " or ".join(languages)
        raise TargetError(f"{self.target.url}: offers no runtime for {known}")

    def put(self, collection: str, name: str, body: Mapping[str, Any]) -> None:
        """Put an entity of `actions`, `triggers` or `rules`."""
        path = f"{NAMESPACE}/{collection}/{name}?overwrite=true"
        self._answer("PUT", path, body, timeout_s=COLD_TIMEOUT_S)

    def invoke(self, name: str, arguments: object) -> None:
        """Run an action once and wait for its end."""
        path = f"{NAMESPACE}/actions/{name}?blocking=true&result=true"
        self._answer("POST", path, arguments, timeout_s=COLD_TIMEOUT_S)

    def delete(self, collection: str, name: str) -> None:
        """Delete an entity; one that is not there is fine."""
        with _unless(http.client.NOT_FOUND):
            self._answer("DELETE", f"{NAMESPACE}/{collection}/{name}")

    def delete_actions(self, prefix: str) -> None:
        """Delete those whose names begin with it."""
        for action in self._answer("GET", f"{NAMESPACE}/actions?limit=200"):
            if action["name"].startswith(prefix):
                self.delete("actions", action["name"])

    def tell_feed(
        self,
        feed: str,
        event: str,
        trigger: str,
        parameters: Mapping[str, Any],
        *,
        refusable: bool = False,
    ) -> None:
        """Tell a feed action of a trigger's life (CREATE, DELETE).

        Raises:
            TargetError: there is no such feed, or it refuses and is not `refusable`.
        """
        namespace, _, name = feed.lstrip("/").partition("/")
        path = f"/api/v1/namespaces/{namespace}/actions/{name}?blocking=true"
        told = {
            **parameters,
            "lifecycleEvent": event,
            "triggerName": f"/_/{trigger}",
            "authKey": self.target.auth,
        }
        with _unless(*([http.client.BAD_GATEWAY, 404] if refusable else ())):
            self._answer("POST", path, told)

    def as_system(self, method: str, path: str, body: object = None) -> Any:
        """Ask with the key of whisk.system."""
        auth = self.target.system_auth or self.target.auth
        return self._answer(method, path, body, auth=auth)

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
        auth: str = "",
    ) -> Any:
        request = Request(  # noqa: S310 (the target is http or https)
            self.target.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": authorization(auth or self.target.auth),
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
        return tls_context(insecure=self.target.insecure, ca_file=self.target.ca_file)


class _Refused(TargetError):
    """The host answered, and not with a success."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        self.status = status
        super().__init__(f"{url}: {_reading(status, body)}")


@contextmanager
def _unless(*statuses: int) -> Iterator[None]:
    """These answers are as good as a success."""
    try:
        yield
    except _Refused as error:
        if error.status not in statuses:
            raise


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
