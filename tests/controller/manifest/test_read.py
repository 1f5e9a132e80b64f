"""wskdeploy's manifests, as people write them and as they get them wrong."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from controller.fleet.wire import Limits
from controller.manifest.desired import (
    Desired,
    WantedAction,
    WantedPackage,
    WantedRule,
    WantedTrigger,
)
from controller.manifest.document import ManifestError
from controller.manifest.interpolate import Unset, fill
from controller.manifest.read import read_manifest
from edge_agent.model.entities import Exec

CODE = "def main(args):\n    return {'cost': '$5'}\n"


def read(folder: Path, text: str, **environ: str) -> Desired:
    path = folder / "manifest.yaml"
    path.write_text(text)
    (folder / "hello.py").write_text(CODE)
    return read_manifest(path, environ)


def test_everything_of_a_package_is_read(tmp_path: Path) -> None:
    desired = read(
        tmp_path,
        """
project:
  name: $NAME
  packages:
    ${NAME}_pkg:
      version: 1.0
      license: Apache-2.0
      public: true
      inputs: {place: Paris}
      annotations: {who: "${NAME}!"}
      actions:
        hello:
          function: hello.py
          runtime: python@3
          main: other
          inputs:
            count: integer
            port: {type: integer, value: $PORT}
            user: {type: string, required: true, default: Ann}
            dollar: $$HOME
            nested: {list: [$NAME, 2]}
            since: 2026-11-21
          limits: {timeout: 1000, memorySize: 128}
          web: raw
          description: Greets
      sequences:
        both: {actions: "hello, /whisk.system/utils/sort, other/x", web: yes}
      triggers:
        tick: {feed: "/whisk.system/alarms/interval", inputs: {minutes: 1}}
        plain:
      rules:
        r: {trigger: tick, action: both, annotations: {retry: {max: 2}}}
""",
        NAME="demo",
        PORT="80",
    )
    package, hello, both, tick, plain, rule = desired.entities

    assert (desired.project, desired.named, desired.file) == (
        "demo",
        True,
        "manifest.yaml",
    )
    assert package == WantedPackage(
        name="demo_pkg",
        publish=True,
        parameters={"place": "Paris"},
        annotations={"who": "demo!"},
    )
    assert hello == WantedAction(
        name="demo_pkg/hello",
        exec=Exec(kind="python:3", code=CODE, binary=False, main="other"),
        parameters={
            "count": 0,
            "port": 80,
            "user": "Ann",
            "dollar": "$HOME",
            "nested": {"list": ["demo", 2]},
            "since": "2026-11-21",
        },
        limits=Limits(timeout=1000, memory=128),
        annotations={
            "description": "Greets",
            "web-export": True,
            "raw-http": True,
            "final": True,
        },
    )
    assert isinstance(both, WantedAction)
    assert both.exec.components == [
        "/_/demo_pkg/hello",
        "/whisk.system/utils/sort",
        "/_/other/x",
    ]
    assert both.annotations["web-export"] is True
    assert tick == WantedTrigger(
        name="tick", feed="/whisk.system/alarms/interval", parameters={"minutes": 1}
    )
    assert plain == WantedTrigger(name="plain")
    assert rule == WantedRule(
        name="r",
        trigger="/_/tick",
        action="/_/demo_pkg/both",
        annotations={"retry": {"max": 2}},
    )


def test_the_default_package_is_none_and_a_nameless_manifest_is_named_by_its_file(
    tmp_path: Path,
) -> None:
    desired = read(
        tmp_path,
        "packages: {default: {actions: {a: {code: 'x = $y', runtime: python}}}}",
    )
    (action,) = desired.entities

    assert (desired.project, desired.named) == ("manifest", False)
    assert action.name == "a"
    assert isinstance(action, WantedAction)
    assert action.exec == Exec(kind="python:default", code="x = $y", binary=False)


def test_a_folder_becomes_the_same_archive_every_time(tmp_path: Path) -> None:
    source = tmp_path / "app"
    (source / "lib").mkdir(parents=True)
    (source / "index.js").write_text("exports.main = () => ({})")
    (source / "lib" / "a.js").write_text("1")
    (source / "notes.md").write_text("mine")
    text = """
packages: {p: {actions: {a: {function: app, runtime: nodejs, exclude: ["*.md"]}}}}
"""
    one = read(tmp_path, text).entities[1]
    (source / "index.js").touch()
    two = read(tmp_path, text).entities[1]

    assert isinstance(one, WantedAction)
    assert one.exec.code is not UNSET
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(one.exec.code))) as archive:
        assert archive.namelist() == ["index.js", "lib/a.js"]
    assert one.digest == two.digest


def test_images_are_black_boxes(tmp_path: Path) -> None:
    text = """
packages:
  default:
    actions:
      image: {docker: me/mine}
      native: {function: hello.py, native: true}
"""
    image, native = read(tmp_path, text).entities

    assert isinstance(image, WantedAction)
    assert isinstance(native, WantedAction)
    assert image.exec == Exec(kind="blackbox", image="me/mine")
    assert native.exec.image == "openwhisk/dockerskeleton"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "manifest.yaml:1: empty"),
        ("packages: [", "manifest.yaml:1: not YAML"),
        ("packages: {p: [a]}", ":1: package 'p' is a mapping"),
        ("packages:\n  p:\n    action: {}", ":3: package 'p' has 'action'; known are"),
        ("packages:\n  p:\n    actions:\n      a:", ":4: action 'a' has no code"),
        (
            "packages: {p: {actions: {a: {code: x}}}}",
            "code needs a runtime, for example python",
        ),
        (
            "packages: {p: {actions: {a: {function: no.py}}}}",
            "no.py: cannot be read: No such file",
        ),
        (
            "packages: {p: {actions: {a: {function: 'https://x/y.js'}}}}",
            "not fetched from elsewhere",
        ),
        (
            "packages:\n p:\n  actions:\n   a:\n    function: hello.py\n    inputs:\n     key: $SECRET",
            r":7: input 'key': \$SECRET is not set",
        ),
        ("packages: {p: {dependencies: {x: {location: /a/b}}}}", "not resolved"),
        ("packages: {p: {apis: {x: {}}}}", "API gateway"),
        ("packages: {p: {rules: {r: {trigger: t}}}}", "rule 'r' has no action"),
        (
            "packages: {p: {actions: {a: {function: hello.py, web: maybe}}}}",
            "web is true, false or raw, not 'maybe'",
        ),
        (
            "packages: {p: {actions: {a: {function: hello.py, limits: {codeSize: 1}}}}}",
            "codeSize is the platform's own",
        ),
        (
            "packages: {p: {actions: {a: {function: hello.py, limits: {timeout: x}}}}}",
            "'timeout' of 'limits' of action 'a' is a whole number",
        ),
        (
            "packages: {p: {triggers: {p: }}}",
            "package p and trigger p have one name",
        ),
        (
            "project: {packages: {}}\npackages: {}",
            ":2: packages stand in project and beside it",
        ),
    ],
)
def test_a_broken_manifest_is_one_line_with_file_line_and_fix(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ManifestError, match=said) as raised:
        read(tmp_path, text)
    assert str(raised.value).startswith(str(tmp_path))
    assert "\n" not in str(raised.value)


@given(st.text())
def test_texts_without_dollars_are_left_alone_and_double_ones_are_single(
    text: str,
) -> None:
    plain = text.replace("$", "")

    assert fill(plain, {}) == plain
    assert fill(plain.replace("x", "$$"), {}) == plain.replace("x", "$")


def test_variables_are_filled_in_anywhere() -> None:
    known = {"A": "1", "B_2": "$A"}

    assert fill("$A-${B_2}$$A$", known) == "1-$A$A$"
    with pytest.raises(Unset, match="NO"):
        fill("${NO}", known)
