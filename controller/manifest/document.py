"""A manifest's YAML, read part by part; whatever is wrong is told with its line.

part = Part.load(path, environ)
fields = part.fields("project", "packages")     # other keys are refused
fields["project"].text()                        # variables are filled in
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import yaml

from controller.manifest.interpolate import Unset, interpolate
from edge_agent.model.errors import EdgeWhiskError


class ManifestError(EdgeWhiskError):
    """The manifest cannot be used; the text is one line with file, line and fix."""

    exit_code: ClassVar[int] = 2


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as wskdeploy reads it, but a date is a text: JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if not tag.endswith("timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Part:
    """One node of the document; `what` names it for people."""

    path: Path
    what: str
    node: yaml.Node
    environ: Mapping[str, str]
    loader: _Loader

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Self:
        """The whole file.

        Raises:
            ManifestError: it cannot be read, is not YAML, or is empty.
        """
        try:
            loader = _Loader(path.read_text())
            node = loader.get_single_node()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ManifestError(f"{path}: cannot be read: {reason}") from error
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ManifestError(
                f"{path}:{line}: not YAML ({error.problem}); look at the indentation,"
                " colons and quotes of this line and the one above"
            ) from error
        except yaml.YAMLError as error:
            text = " ".join(str(error).split())
            raise ManifestError(f"{path}: not YAML: {text}") from error
        if node is None:
            raise ManifestError(f"{path}:1: empty; begin with `packages:`")
        return cls(path, "a manifest", node, environ, loader)

    def fail(self, problem: str) -> NoReturn:
        line = self.node.start_mark.line + 1
        raise ManifestError(f"{self.path}:{line}: {problem}")

    @property
    def empty(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag.endswith(
            ":null"
        )

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    def fields(self, *known: str) -> dict[str, Part]:
        """The values by key, without empty ones; keys that are not `known` fail."""
        found = {}
        for key, part in self._pairs():
            if key not in known:
                where = Part(self.path, key, part.node, self.environ, self.loader)
                where.fail(f"{self.what} has '{key}'; known are {', '.join(known)}")
            if not part.empty:
                found[key] = part
        return found

    def named(self, noun: str) -> dict[str, Part]:
        """The values by name, variables in names filled in, empty ones included."""
        found = {}
        for key, part in self._pairs():
            name = str(part.filled(key))
            found[name] = Part(
                self.path, f"{noun} '{name}'", part.node, self.environ, self.loader
            )
        return found

    def text(self) -> str:
        """A scalar's text as it stands, variables filled in."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.fail(f"{self.what} is a text, not a list or mapping")
        return str(self.filled(self.node.value))

    def raw(self) -> str:
        """A scalar's text without filling in: source code has dollars of its own."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.fail(f"{self.what} is a text, not a list or mapping")
        return str(self.node.value)

    def value(self) -> Any:
        """Any value, variables in its texts filled in."""
        try:
            found = self.loader.construct_object(self.node, deep=True)
        except yaml.YAMLError as error:
            self.fail(f"{self.what}: {' '.join(str(error).split())}")
        return self.filled(found)

    def flag(self) -> bool:
        found = self.value()
        if not isinstance(found, bool):
            self.fail(f"{self.what} is true or false")
        return found

    def number(self) -> int:
        found = self.value()
        if isinstance(found, str) and found.isdigit():
            found = int(found)
        if not isinstance(found, int) or isinstance(found, bool):
            self.fail(f"{self.what} is a whole number")
        return found

    def filled(self, value: Any) -> Any:
        try:
            return interpolate(value, self.environ)
        except Unset as error:
            self.fail(
                f"{self.what}: ${error.name} is not set; set it in the environment"
                " ($$ is a dollar)"
            )

    def _pairs(self) -> Iterator[tuple[str, Part]]:
        if self.empty:
            return
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"{self.what} is a mapping; write `NAME:` with a colon")
        self.loader.flatten_mapping(self.node)
        for key, node in self.node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            # An empty value has no place of its own; its key does.
            place = key if node.start_mark.index == node.end_mark.index else node
            node.start_mark = place.start_mark
            what = f"'{name}' of {self.what}"
            yield name, Part(self.path, what, node, self.environ, self.loader)
