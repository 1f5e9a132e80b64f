"""Which kinds can run here: the installed interpreters and the names they answer to.

Every `python:3.x` and `nodejs:N` maps to what is installed: a concrete kind such as
`python:3.11` names it. What families there are, the manifests say (`manifest.py`); what
of them is installed, `interpreters.py` finds out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge_agent.model.kinds import KindEntry
from edge_agent.sandbox.manifest import (
    BUILT_IN,
    DEFAULT,
    Families,
    kind_of_image,
    read_families,
)

#: Of the families that are described by a manifest alone, and of `native`.
LOOP = "python_loop.pyc"
BLACKBOX = "blackbox:"


@dataclass(frozen=True, slots=True)
class Runtime:
    """One installed language: how its launcher is started.

    `roots` must be visible to the interpreter; `launcher` is a file's name in the
    factory's folder; `packages` are folders of modules that the launcher adds;
    `program` is what the loop's launcher is told of the program it hands over to.
    """

    kind: str
    interpreter: str
    roots: tuple[str, ...]
    launcher: str
    packages: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    beside_mb: int = 192

    @property
    def family(self) -> str:
        return self.kind.partition(":")[0]

    @property
    def in_python(self) -> bool:
        """Its launcher is a Python's, and a fork server may have it loaded."""
        return self.launcher.endswith(".pyc")

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its launcher is given beside the folder and the limits."""
        return self.program or self.packages

    @property
    def hands_over(self) -> bool:
        """What answers after the init may be a program that knows no launcher."""
        return self.launcher == LOOP


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What was found, and a finding for each family that cannot be served.

    `images`: patterns of images, and the kind that a blackbox of them runs as.
    """

    found: tuple[Runtime, ...]
    findings: tuple[str, ...] = ()
    families: Families = field(default_factory=lambda: read_families(BUILT_IN))
    images: dict[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(runtime.kind for runtime in self.found)

    @property
    def forked(self) -> Runtime | None:
        """The Python that a fork server runs, which sees what all its children need."""
        python = next((r for r in self.found if r.family == "python"), None)
        if python is None:
            return None
        roots = dict.fromkeys(root for runtime in self.found for root in runtime.roots)
        return replace(python, roots=tuple(roots))

    def get(self, kind: str) -> Runtime | None:
        return next((r for r in self.found if r.kind == kind), None)

    def resolve(self, kind: str) -> str | None:
        """The concrete kind that serves `kind`; None when nothing does."""
        if kind.startswith(BLACKBOX):
            kind = kind_of_image(kind.removeprefix(BLACKBOX), self.images)
        if self.get(kind) is not None:
            return kind
        name, _, version = kind.partition(":")
        runtime = next((r for r in self.found if r.family == name), None)
        if runtime is None:
            return None
        taken = version == DEFAULT or self.families[name].takes(kind)
        return runtime.kind if taken else None

    def why_not(self, kind: str) -> str:
        """Why a kind is refused for good; empty when it is only not here."""
        family = self.families.get(kind.partition(":")[0])
        return family.why_not(kind) if family else ""

    @property
    def entries(self) -> tuple[KindEntry, ...]:
        """Every kind that is taken, those of a family together, its default first."""
        families = dict.fromkeys(runtime.family for runtime in self.found)
        return tuple(entry for name in families for entry in self._entries(name))

    def _entries(self, name: str) -> list[KindEntry]:
        family = self.families[name]
        installed = [runtime.kind for runtime in self.found if runtime.family == name]
        default = family.default or installed[0]
        kinds = dict.fromkeys([default, *installed, *family.names])
        return [
            KindEntry(kind, self.resolve(kind) or "", default=kind == default)
            for kind in kinds
        ]
