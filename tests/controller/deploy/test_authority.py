"""A fleet's authority: whose certificates every TLS client of today accepts."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from controller.deploy.authority import open_authority

NAMES = ["attic", "attic.local", "127.0.0.1", "::1"]


def shake_hands(folder: Path, asked: str) -> str:
    """The subject that a strict client sees on 127.0.0.1 when it asks for `asked`."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "attic.pem", folder / "attic.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as speaking:
                speaking.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=asked) as speaking:
            speaking.send(b"x")
            certificate = speaking.getpeercert() or {}
            assert certificate["notBefore"] == "Jan  1 00:00:00 1970 GMT"
            return str(certificate["subject"])
    finally:
        ours.close()
        thread.join(5)


@pytest.mark.parametrize("asked", NAMES)
def test_a_strict_client_accepts_each_name_of_the_node(
    tmp_path: Path, asked: str
) -> None:
    with open_authority(tmp_path) as authority:
        assert authority.issue("attic", NAMES)

    assert "attic" in shake_hands(tmp_path, asked)


def test_another_name_is_refused(tmp_path: Path) -> None:
    with open_authority(tmp_path) as authority:
        authority.issue("attic", NAMES)

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path, "cellar")


def test_a_good_certificate_stays_and_a_wrong_one_is_made_anew(tmp_path: Path) -> None:
    with open_authority(tmp_path) as authority:
        authority.issue("attic", NAMES)
        first = (tmp_path / "attic.pem").read_bytes()
        assert not authority.issue("attic", list(reversed(NAMES)))
        assert authority.issue("attic", [*NAMES, "192.0.2.1"])
        assert authority.issue("attic", [*NAMES, "192.0.2.1"], renew=True)
    (tmp_path / "ca.pem").unlink()

    with open_authority(tmp_path) as another:
        assert another.issue("attic", [*NAMES, "192.0.2.1"])

    assert (tmp_path / "attic.pem").read_bytes() != first
    assert (tmp_path / "attic.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
