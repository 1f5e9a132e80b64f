"""Are rendered manifests what a cluster takes? Judged offline, by its own schemas.

    python -m controller.deploy.manifests FILE [VERSION]

is run by the role openwhisk on what helm rendered. What is no part of Kubernetes itself
(a Route of OpenShift) has no schema here and is only counted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Judged:
    """`counts`: kind -> how many; `problems`: one line each, none when all is well."""

    counts: dict[str, int]
    unknown: tuple[str, ...]
    problems: tuple[str, ...]


def main(arguments: Sequence[str]) -> int:
    file, *version = arguments
    judged = judge(Path(file).read_text(), *version)
    for problem in judged.problems:
        sys.stderr.write(f"error: {problem}\n")
    told = told_of(judged.counts)
    if judged.unknown:
        told += f" (without a schema: {', '.join(judged.unknown)})"
    sys.stdout.write(f"{told}\n")
    return 1 if judged.problems else 0


def told_of(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in counts.items())


def counts_of(text: str) -> dict[str, int]:
    """Kind -> how many of it were rendered."""
    return dict(Counter(_kind(one) for one in yaml.safe_load_all(text) if one))


def judge(text: str, version: str = "") -> Judged:
    """Every document of `text` by the schemas of Kubernetes `version` ("": newest)."""
    try:
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        return Judged({}, (), (f"not YAML: {said}",))
    counts = Counter(_kind(one) for one in documents)
    unknown: list[str] = []
    problems = list(_problems(documents, version, unknown))
    if not documents:
        problems.append("nothing was rendered: is openwhisk_chart the chart?")
    return Judged(dict(counts), tuple(sorted(set(unknown))), tuple(problems))


def _problems(
    documents: Sequence[Any], version: str, unknown: list[str]
) -> Iterator[str]:
    import kubernetes_validate as schemas  # noqa: PLC0415 a hundred megabytes of them

    wanted = version or schemas.latest_version()
    for document in documents:
        name = _name(document)
        if not isinstance(document, dict) or "kind" not in document:
            yield f"{name}: not a manifest: it has no kind"
            continue
        try:
            schemas.validate(document, wanted, strict=True)
        except schemas.SchemaNotFoundError:
            unknown.append(_kind(document))
        except schemas.ValidationError as error:
            place = ".".join(str(part) for part in error.path) or "it"
            yield f"{name}: {place}: {' '.join(str(error.message).split())[:200]}"


def _kind(document: Any) -> str:
    return str(document.get("kind", "?")) if isinstance(document, dict) else "?"


def _name(document: Any) -> str:
    if not isinstance(document, dict):
        return "a document"
    name = (document.get("metadata") or {}).get("name", "without a name")
    return f"{_kind(document)} {name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
