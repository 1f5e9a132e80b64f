"""`edgectl deploy --engine openwhisk --on kubernetes`: apply, wait, write a target."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from controller.cli.engines import Ask, absolute, drop_target, keep_targets
from controller.cli.errors import InputError
from controller.cli.output import Output
from controller.cli.play import run_playbook

TARGET = "openwhisk"
#: What the modules of kubernetes.core stand on, and how it is called here.
MODULES = ("ansible_collections.kubernetes.core", "kubernetes", "kubernetes_validate")


def deploy_openwhisk(out: Output, ask: Ask) -> None:
    """Apply the chart, wait until an action runs on it, and write the target.

    With `--check` it is rendered and validated only; the cluster is not asked.
    """
    _check_tools(ask.variables)
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        manifest, result = Path(folder, "manifest.yaml"), Path(folder, "result.json")
        files = {
            "openwhisk_manifest_file": str(manifest),
            "openwhisk_result_file": str(result),
        }
        told = "deploying Apache OpenWhisk"
        _play(out, ask, "openwhisk", folder, _told_of(ask) | files, told)
        if ask.check:
            from controller.deploy.manifests import counts_of, told_of

            out.say(f"rendered and valid: {told_of(counts_of(manifest.read_text()))}")
            return
        from controller.deploy.openwhisk import read_applied, wait_until_healthy

        applied = read_applied(result)
    entry = asyncio.run(wait_until_healthy(applied, out.say))
    keep_targets(out, {_target(ask): entry})
    if entry.insecure:
        out.say("its certificate is not checked: set openwhisk_ca to have it checked")


def remove_openwhisk(out: Output, ask: Ask) -> None:
    """Uninstall the chart, with its volumes, and the namespace if it was made here."""
    _check_tools(ask.variables)
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        told = "removing Apache OpenWhisk"
        _play(out, ask, "openwhisk_remove", folder, _told_of(ask), told)
    drop_target(out, _target(ask))


def _play(
    out: Output,
    ask: Ask,
    playbook: str,
    folder: str,
    variables: Mapping[str, Any],
    told: str,
) -> None:
    """It runs here, with the Python that has the cluster's libraries."""
    inventory = Path(folder, "inventory.yaml")
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    inventory.write_text(json.dumps({"all": {"hosts": {_target(ask): here}}}))
    run_playbook(
        out,
        playbook,
        inventory=inventory,
        variables=variables,
        told=told,
        check=ask.check,
        diff=ask.diff,
    )


def _target(ask: Ask) -> str:
    return str(ask.variables.get("openwhisk_target", TARGET))


def _told_of(ask: Ask) -> dict[str, Any]:
    """The variables; where the pods are, from the target where it is known."""
    from controller.fleet.entries import PLACE, read_entries

    entry = read_entries(Path.home() / PLACE).get(_target(ask))
    known = {}
    if entry is not None and entry.kubernetes is not None:
        cluster = entry.kubernetes
        known = {
            "openwhisk_namespace": cluster.namespace,
            "openwhisk_release": cluster.release,
            "openwhisk_kubeconfig": cluster.kubeconfig,
            "openwhisk_context": cluster.context,
        }
    return {**known, **absolute(ask.variables)}


def _check_tools(variables: Mapping[str, Any]) -> None:
    missing = [name for name in MODULES if not _is_there(name)]
    if missing:
        raise InputError(
            "--on kubernetes needs kubernetes.core and the cluster's libraries:"
            " pip install 'edgewhisk[controller,kubernetes]'"
        )
    helm = str(variables.get("openwhisk_helm", "helm"))
    if shutil.which(helm) is None:
        raise InputError(
            f"--on kubernetes needs helm 3, and there is no '{helm}': install it, or"
            " give --var openwhisk_helm=/path/to/helm"
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
