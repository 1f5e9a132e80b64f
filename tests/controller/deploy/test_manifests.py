"""Rendered manifests are judged by the schemas of Kubernetes, without a cluster."""

from __future__ import annotations

import re

import pytest

from controller.deploy.manifests import judge

pytest.importorskip("kubernetes_validate", reason="pip install 'edgewhisk[kubernetes]'")

GOOD = """
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {guest: YTpi}
---
# Source: an empty document
---
apiVersion: route.openshift.io/v1
kind: Route
metadata: {name: way-in}
spec: {host: ow.example}
"""


def test_what_a_cluster_takes_is_counted() -> None:
    judged = judge(GOOD)

    assert judged.problems == ()
    assert judged.counts == {"Secret": 1, "Route": 1}
    assert judged.unknown == ("Route",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("\ndata:", "\ndate:"), "Secret keys: it: .*date"),
        (GOOD.replace("YTpi", "[1]"), "Secret keys: data.guest"),
        ("a: [", "not YAML"),
        ("", "nothing was rendered"),
        ("just text", "not a manifest"),
    ],
    ids=["field", "type", "yaml", "nothing", "text"],
)
def test_what_is_wrong_is_named_with_its_place(text: str, said: str) -> None:
    (problem,) = judge(text).problems

    assert problem
    assert re.search(said, problem), problem
