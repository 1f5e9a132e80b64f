"""APIs made as wsk makes them, called at the URLs that a real node answers with."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

KIND = "python:default"
ECHO = "def main(args):\n    return args\n"
HTTP = """
def main(args):
    return {"body": {"method": args["__ow_method"], "id": args.get("id", "")}}
"""
APIMGMT = "/api/v1/web/whisk.system/apimgmt"
WEB = {"key": "web-export", "value": True}


class Client:
    """As wsk: every call with the key; answers as (status, JSON)."""

    def __init__(self, agent: Any) -> None:
        self._host = urlsplit(agent.url).netloc
        self._auth = base64.b64encode(agent.key.encode()).decode()
        self.space = agent.key.partition(":")[0]
        self.url = agent.url

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: bool = True,
        **headers: str,
    ) -> tuple[int, Any]:
        status, answer, _ = self.whole(method, path, body, key=key, **headers)
        return status, answer

    def whole(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: bool = True,
        **headers: str,
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["Authorization"] = f"Basic {self._auth}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self._host, timeout=10)
        try:
            path = path.removeprefix(self.url)
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, sent)
            response = connection.getresponse()
            answer = response.read().decode()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        read = json.loads(answer) if answer and is_json else answer
        return response.status, read, response.headers

    def action(self, name: str, code: str = ECHO, *more: dict[str, Any]) -> None:
        body = {"exec": {"kind": KIND, "code": code}, "annotations": [WEB, *more]}
        status, answer = self("PUT", f"/api/v1/namespaces/_/actions/{name}", body)
        assert status == 200, answer

    def manage(
        self, call: str, method: str, body: Any = None, **query: str
    ) -> tuple[int, Any]:
        common = {"accesstoken": "DUMMY TOKEN", "spaceguid": self.space}
        path = f"{APIMGMT}/{call}.http?{urlencode({**common, **query})}"
        return self(method, path, body)

    def create(
        self, base: str, path: str, verb: str, action: str, **more: Any
    ) -> dict[str, Any]:
        kind = more.pop("responsetype", "json")
        status, answer = self.manage(
            "createApi",
            "POST",
            apidoc(self.url, base, path, verb, action, **more),
            responsetype=kind,
        )
        assert status == 200, answer
        return dict(answer)


def apidoc(
    url: str, base: str, path: str, verb: str, action: str, **more: Any
) -> dict[str, Any]:
    place = action if "/" in action else f"default/{action}"
    named = {
        "name": action,
        "namespace": "_",
        "backendMethod": verb,
        "backendUrl": f"{url}/api/v1/web/guest/{place}.http",
        "authkey": "k",
    }
    if "secure_key" in more:
        named["secureKey"] = more.pop("secure_key")
    return {
        "apidoc": {
            "namespace": "_",
            "gatewayBasePath": base,
            "gatewayPath": path,
            "gatewayMethod": verb,
            "id": f"API:_:{base}",
            "action": named,
            **more,
        }
    }


@pytest.fixture
def client(agent: Any) -> Client:
    return Client(agent)


def test_b78_b81_b85_wsk_api_create_list_and_delete_work(client: Client) -> None:
    client.action("a")

    made = client.create("/b", "/p", "GET", "a", apiName="Books")
    client.create("/b", "/p", "POST", "a")
    client.create("/other", "/q", "GET", "a")
    status, called = client("GET", f"{made['gwApiUrl']}/p?q=1", key=False)

    assert made["gwApiUrl"] == f"{client.url}/api/guest/b"
    assert made["gwApiActivated"] is True
    assert made["apidoc"]["info"]["title"] == "Books"
    assert made["apidoc"]["paths"]["/p"]["get"]["operationId"] == "getP"
    assert (status, called["q"], called["__ow_path"]) == (200, "1", "")
    _check_lists(client)
    _check_deletions(client)


def _check_lists(client: Client) -> None:
    """B81."""

    def names(**query: str) -> list[str]:
        status, answer = client.manage("getApi", "GET", **query)
        assert status == 200
        assert all(api["id"] == api["key"] == "Not Used" for api in answer["apis"])
        return [api["value"]["apidoc"]["info"]["title"] for api in answer["apis"]]

    assert sorted(names()) == ["/other", "Books"]
    assert names(basepath="/b") == names(basepath="Books") == ["Books"]
    assert names(apiname="Books") == names(operation="post") == ["Books"]
    assert names(relpath="/q", operation="GET") == ["/other"]
    assert names(basepath="/none") == names(basepath="/b", operation="put") == []


def _check_deletions(client: Client) -> None:
    """B82, B83."""

    def delete(**query: str) -> tuple[int, Any]:
        return client.manage("deleteApi", "DELETE", force="true", **query)

    assert delete(basepath="Books", relpath="/p", operation="GET") == (200, {})
    assert client("GET", "/api/guest/b/p", key=False)[0] == 405
    assert client("POST", "/api/guest/b/p", {"q": 2}, key=False)[1]["q"] == 2
    assert delete(basepath="/b", relpath="/p", operation="post") == (200, {})
    assert client("POST", "/api/guest/b/p", {}, key=False)[0] == 404
    assert delete(basepath="/b") == (
        502,
        {"error": "API deletion failure: API '/b' does not exist."},
    )
    assert delete(basepath="/other") == (200, {})
    assert client.manage("getApi", "GET") == (200, {"apis": []})


def test_b79_path_parameters_secrets_and_packages(client: Client) -> None:
    client("PUT", "/api/v1/namespaces/_/packages/p", {})
    secret = {"key": "require-whisk-auth", "value": "s3cret"}
    client.action("p/safe", ECHO, secret)
    client.action("http", HTTP)

    safe = client.create("/b", "/x/{id}/y", "POST", "p/safe", secure_key="s3cret")
    client.create("/b", "/h/{id}", "GET", "http", responsetype="http")

    url = f"{safe['gwApiUrl']}/x/a%20b/y?id=other&q=1"
    status, called = client("POST", url, {"n": [1]}, key=False)
    assert (status, called["id"], called["q"], called["n"]) == (200, "a b", "1", [1])
    assert called["__ow_path"] == "/x/a%20b/y"
    assert client("GET", "/api/v1/web/guest/p/safe.json", key=False)[0] == 401
    assert client("GET", "/api/guest/b/h/7", key=False) == (
        200,
        {"method": "get", "id": "7"},
    )


def test_b79_an_uploaded_document_is_served_whole(client: Client) -> None:
    client.action("a")
    client.action("http", HTTP)
    named = {"namespace": "_", "action": "http", "url": "http://h/a/http.http"}
    swagger = {
        "swagger": "2.0",
        "basePath": "/up",
        "info": {"title": "Up", "version": "1.0.0"},
        "paths": {
            "/one": {"get": {"operationId": "one", "x-openwhisk": named}},
            "/two": {
                "put": {"x-openwhisk": {**named, "action": "a", "url": "u/a.json"}},
                "delete": {"x-openwhisk": named},
            },
        },
        "x-ibm-configuration": {"cors": {"enabled": False}},
    }
    for sent in (swagger, json.dumps(swagger)):
        status, made = client.manage(
            "createApi", "POST", {"apidoc": {"namespace": "_", "swagger": sent}}
        )
        assert status == 200, made
        assert made["apidoc"]["paths"]["/two"]["put"]["operationId"] == "putTwo"
    assert client("GET", "/api/guest/up/one", key=False)[1]["method"] == "get"
    assert client("DELETE", "/api/guest/up/two", key=False)[1]["method"] == "delete"
    assert client("PUT", "/api/guest/up/two", {"n": 1}, key=False)[1]["n"] == 1


def test_b79_preflights_are_answered_for_the_methods_there_are(client: Client) -> None:
    client.action("a", ECHO, {"key": "web-custom-options", "value": True})
    client.create("/b", "/p", "GET", "a")
    client.create("/b", "/p", "PUT", "a")

    status, text, headers = client.whole(
        "OPTIONS", "/api/guest/b/p", key=False, Access_Control_Request_Headers="x-one"
    )
    called = client.whole("GET", "/api/guest/b/p", key=False)[2]
    wrong = client.whole("DELETE", "/api/guest/b/p", key=False)

    assert (status, text) == (200, "")
    assert headers["Access-Control-Allow-Methods"] == "GET, OPTIONS, PUT"
    assert headers["Access-Control-Allow-Headers"] == "x-one"
    assert called["Access-Control-Allow-Origin"] == "*"
    assert (wrong[0], wrong[2]["Allow"]) == (405, "GET, PUT")
    assert client("GET", "/api/guest/none", key=False)[0] == 404
    assert client("GET", "/api/nobody/b/p", key=False)[0] == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (None, "apidoc is required"),
        ({"apidoc": 5}, "apidoc is required"),
        ({"apidoc": "{bad"}, "apidoc field cannot be parsed"),
        ({"apidoc": {"swagger": "{bad"}}, "swagger field cannot be parsed"),
        ({"apidoc": {"swagger": {}}}, "paths field of swagger"),
        ({"apidoc": {"swagger": {"a": 1}, "gatewayBasePath": "/b"}}, "exclusive"),
        ({"apidoc": {"gatewayBasePath": "b"}}, "must be a path"),
        ({"apidoc": {"gatewayBasePath": "/b"}}, "missing the gatewayPath field"),
    ],
)
def test_b83_errors_are_502_with_the_reason(
    client: Client, body: Any, text: str
) -> None:
    status, answer = client.manage("createApi", "POST", body)

    assert status == 502
    assert answer["error"].startswith("API creation failure: ")
    assert text in answer["error"]
    assert "code" not in answer


def test_b78_who_calls_is_told_by_the_key_alone(client: Client, agent: Any) -> None:
    client.action("a")
    body = apidoc(client.url, "/b", "/p", "GET", "a")
    path = f"{APIMGMT}/createApi.http?spaceguid={client.space}"

    assert client("POST", path, body, key=False)[0] == 401
    assert client("POST", f"{path}&__ow_user=whisk.system", body)[0] == 400
    status, record = client(
        "POST",
        "/api/v1/namespaces/whisk.system/actions/apimgmt/createApi?blocking=true",
        {**body, "__ow_user": "whisk.system"},
    )
    assert status == 200
    shown = record["response"]["result"]["body"]["gwApiUrl"]
    assert urlsplit(shown).path == "/api/guest/b"


def test_b78_apis_outlive_the_process(agent_factory: Any) -> None:
    first = agent_factory()
    client = Client(first)
    client.action("a")
    client.create("/b", "/p", "GET", "a")
    first.kill()

    again = Client(agent_factory(data=first.data))

    assert again("GET", "/api/guest/b/p?q=1", key=False)[1]["q"] == "1"


def test_b78_odd_paths_are_answered_and_the_agent_serves_on(client: Client) -> None:
    client.action("a")
    client.create("/", "/{any}", "GET", "a")

    for odd in ("", "/", "//", "/%00", "/%ff", "/..%2f..", f"/{quote('é/')}", "/%"):
        status, _ = client("GET", f"/api/guest{odd}", key=False)
        assert status in (200, 404), odd
    assert client("GET", "/api/guest/%ff", key=False)[1]["any"] == "\ufffd"
