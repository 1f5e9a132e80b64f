"""How a broker says no, and how a connection ends before it has said anything."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.model.errors import EdgeWhiskError


class Refused(EdgeWhiskError):
    """The broker answered and said no. `version`: to the version of MQTT."""

    def __init__(self, text: str, *, version: bool = False) -> None:
        super().__init__(text)
        self.version = version


class Lost(EdgeWhiskError):
    """The connection ended before the broker had answered."""


def puback_reason(code: int) -> str:
    """Why a broker refused what we published."""
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code).getName())
    except KeyError:
        return f"reason {code:#04x}"
