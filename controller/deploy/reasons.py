"""One line for a person: what went wrong on a host, and what to do about it.

Ansible's texts run over many lines and name no remedy. The table below maps what ssh,
sudo, apt and pip say to one; what is not in it is shown as it is.
"""

from __future__ import annotations

import re

LONGEST = 300

# The first pattern that is found wins.
REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "if the machine was reinstalled: ssh-keygen -R ADDRESS",
    ),
    (
        r"Permission denied \(",
        "check ansible_user and the key: ssh-copy-id USER@ADDRESS",
    ),
    (r"Could not resolve hostname|Name or service not known", "set ansible_host"),
    (r"Connection refused", "is sshd running there, and on this port?"),
    (
        r"timed out|No route to host|Network is unreachable",
        "is the machine on, and is ansible_host its address?",
    ),
    (
        r"[Mm]issing sudo password|a password is required|[Ii]ncorrect sudo password",
        "sudo wants a password: set ansible_become_password, or allow NOPASSWD",
    ),
    (
        r"sudo: (?:command )?not found",
        "install sudo there, or set ansible_become_method",
    ),
    (r"is not in the sudoers file", "give this user sudo, or set ansible_user"),
    (
        r"interpreter '?\S+'? was not found|python3?: not found",
        "install Python there: sudo apt-get install python3",
    ),
    (
        r"requires a minimum of Python|SyntaxError: future feature annotations",
        "its Python is too old: upgrade to Debian 12 or newer",
    ),
    (r"No space left on device", "free some disk there"),
    (r"no vault secrets found", "set ANSIBLE_VAULT_PASSWORD_FILE"),
    (
        r"No matching distribution found|Could not find a version",
        "give the node network, or a --wheelhouse for its architecture and Python",
    ),
    (
        r"NewConnectionError|Temporary failure in name resolution|Failed to fetch",
        "the node has no way to the package registry: deploy with --wheelhouse DIR",
    ),
)

# What Ansible puts before the words that matter.
_NOISE = re.compile(
    r"^(?:(?:Task|Action|Module) failed: |Failed to connect to the host via ssh: )+"
)

_ERROR = re.compile(
    r"^(?:error|fatal|e)\s*:|^[\w.]+(?:error|exception)\s*:", re.IGNORECASE
)
# What modules say when the program they ran has said more.
_VAGUE = re.compile(
    r"^$|non-zero return code|MODULE FAILURE|failed to validate|deserialization failed"
)


def reason_unreachable(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Warning:", "@@@"))]
    said = _NOISE.sub("", telling[-1]) if telling else "no answer"
    return _with_remedy(f"unreachable: {said}", text)


def reason_failed(task: str, text: str, stderr: str = "") -> str:
    """The task that failed, and the last line of what it said."""
    bare = task.rpartition(" : ")[2]
    said = _telling_line(text, stderr)
    return _with_remedy(f"{bare}: {said}", f"{text}\n{stderr}")


def reason_broken_off(said: str) -> str:
    """Why Ansible ended before it was done; "" when it did not say."""
    line = said.strip().rstrip(".") or "the run ended before this host was done"
    return f"{_with_remedy(line, said)}; run it again"


def _telling_line(text: str, stderr: str) -> str:
    """A program's last error line says more than 'non-zero return code'."""
    errors = [line.strip() for line in stderr.splitlines() if line.strip()]
    if errors and _VAGUE.search(text):
        return _loudest(errors)
    if "Traceback (most recent call last)" in text:
        return [line.strip() for line in text.splitlines() if line.strip()][-1]
    return _NOISE.sub("", " ".join(text.split())) or "failed without a word"


def _loudest(lines: list[str]) -> str:
    """The last line that calls itself an error; the last of all when none does."""
    return next((line for line in reversed(lines) if _ERROR.search(line)), lines[-1])


def _with_remedy(said: str, everything: str) -> str:
    line = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."
    for pattern, remedy in REMEDIES:
        if re.search(pattern, everything):
            return f"{line} ({remedy})"
    return line
