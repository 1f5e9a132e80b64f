"""Functions and values on their way to nodes and back.

Functions go by value where a node has not got their module: those of `__main__` and of
every file that is not installed. Bytecode is that of one Python only, so a node with
another one is unfit; `cloudpickle` goes with the action, in our version.
"""

from __future__ import annotations

import base64
import pickle
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from controller.mapreduce.archive import archive
from controller.mapreduce.job import MapAction

try:
    import cloudpickle
except ModuleNotFoundError as missing:
    text = "functions need cloudpickle: pip install 'edgewhisk[controller]'"
    raise ModuleNotFoundError(text, name="cloudpickle") from missing

PYTHON = sys.version_info[:2]
KIND = "python:default"
MAIN = "main"
ON_NODE = Path(__file__).with_name("calls_on_node.py")
_INSTALLED = [
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
]


def dump(value: Any) -> str:
    return base64.b64encode(cloudpickle.dumps(value)).decode()


def load(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301 from our own nodes


def by_value(function: Any) -> None:
    """See to it that the module of the function need not be on a node."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is not None and _is_here_only(module):
        cloudpickle.register_pickle_by_value(module)


def _is_here_only(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or file is None:
        return False  # cloudpickle knows, or it is built in
    if module.__name__ in cloudpickle.list_registry_pickle_by_value():
        return False
    return not any(Path(file).resolve().is_relative_to(each) for each in _INSTALLED)


def calling_action(
    *,
    limits: Mapping[str, int],
    requirements: Sequence[str] = (),
    functions: tuple[Any, ...] = (),
) -> MapAction:
    """The action of `calls_on_node`, for these functions or for any."""
    files = {"__main__.py": ON_NODE.read_bytes(), **_cloudpickle()}
    if functions:
        for function in functions:
            by_value(function)
        files["functions.pickle"] = cloudpickle.dumps(functions)
    code = archive(files, requirements=requirements)
    return MapAction(KIND, code, MAIN, limits, binary=True)


@cache
def _cloudpickle() -> dict[str, bytes]:
    folder = Path(cloudpickle.__file__).parent
    return {
        f"cloudpickle/{file.name}": file.read_bytes()
        for file in sorted(folder.glob("*.py"))
    }
