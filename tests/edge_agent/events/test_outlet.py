"""What is published, in which order, and what is sent again."""

from __future__ import annotations

from edge_agent.events import outlet as module
from edge_agent.events.outlet import Allowance, Outlet, Problem, Publication
from edge_agent.events.packets import decode_publish, next_frame


class Wire:
    """A `Link` that keeps what is written."""

    version_5 = True

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self._last = 0

    def packet_id(self) -> int:
        self._last += 1
        return self._last

    def write(self, packet: bytes) -> None:
        self.packets.append(packet)

    @property
    def payloads(self) -> list[bytes]:
        found = []
        for packet in self.packets:
            frame = next_frame(packet, 0)
            assert frame is not None
            message = decode_publish(packet[0], packet[frame[0] :], version_5=True)
            found.append(message.payload)
        return found


class Case:
    def __init__(self) -> None:
        self.outlet = Outlet(reason_text=lambda code: f"reason {code}")
        self.ends: list[tuple[bytes, str | None]] = []

    def put(self, payload: bytes, *, qos: int = 1) -> bool:
        return self.outlet.put(
            Publication(
                b"t", payload, qos, False, lambda end: self.ends.append((payload, end))
            )
        )


def test_only_what_the_broker_allows_is_under_way() -> None:
    case, wire = Case(), Wire()
    for payload in (b"1", b"2", b"3"):
        case.put(payload)
    case.outlet.attach(wire, Allowance(2))
    assert wire.payloads == [b"1", b"2"]

    case.outlet.acknowledged(1, 0)

    assert wire.payloads == [b"1", b"2", b"3"]
    assert case.ends == [(b"1", None)]
    assert (case.outlet.waiting, case.outlet.in_flight) == (0, 2)


def test_what_was_not_acknowledged_is_sent_again_first() -> None:
    case, wire = Case(), Wire()
    for payload in (b"1", b"2", b"3"):
        case.put(payload)
    case.outlet.attach(wire, Allowance(2))
    case.outlet.acknowledged(1, 0)
    case.outlet.detach()
    case.put(b"4")

    again = Wire()
    case.outlet.attach(again, Allowance(10))

    assert again.payloads == [b"2", b"3", b"4"]


def test_a_refusal_is_told() -> None:
    case, wire = Case(), Wire()
    case.outlet.attach(wire, Allowance(2))
    case.put(b"1")
    case.outlet.acknowledged(1, 0x87)
    case.outlet.acknowledged(77, 0)  # nobody's

    assert case.ends == [(b"1", Problem("reason 135"))]
    assert (case.outlet.published, case.outlet.failed) == (0, 1)


def test_a_refusal_that_may_pass_is_told_as_such() -> None:
    case, wire = Case(), Wire()
    case.outlet.attach(wire, Allowance(2))
    case.put(b"1")
    case.outlet.acknowledged(1, 0x97)

    assert case.ends == [(b"1", Problem("reason 151", passing=True))]
    assert case.outlet.failed == 0


def test_qos_0_is_out_once_it_is_written() -> None:
    case, wire = Case(), Wire()
    case.put(b"1", qos=0)
    assert case.ends == []

    case.outlet.attach(wire, Allowance(0, qos=0))
    case.put(b"2", qos=0)

    assert case.ends == []  # nothing may be in flight at all
    case.outlet.attach(wire, Allowance(1, qos=0))
    assert case.ends == [(b"1", None), (b"2", None)]


def test_what_is_too_large_for_the_broker_is_told_and_not_sent() -> None:
    case, wire = Case(), Wire()
    case.outlet.attach(wire, Allowance(2, packet_bytes=100))
    case.put(b"x" * 200)

    assert wire.packets == []
    assert case.ends == [(b"x" * 200, Problem("the broker takes at most 100 bytes"))]


def test_a_full_queue_takes_no_more() -> None:
    case = Case()
    big = b"x" * (module.MOST_WAITING_BYTES // 2)

    assert case.put(big)
    assert not case.put(big + big)
    assert case.put(b"small")
    assert Case().put(big + big)  # alone, it has all the room


def test_the_number_that_waits_is_bounded() -> None:
    case = Case()

    taken = [case.put(b"") for _ in range(module.MOST_WAITING + 1)]

    assert taken.count(True) == module.MOST_WAITING


def test_what_is_withdrawn_is_not_sent() -> None:
    case, wire = Case(), Wire()
    case.put(b"1")
    gone = Publication(b"t", b"2", 1, False, lambda _: None)
    case.outlet.put(gone)
    case.outlet.withdraw(gone)
    case.outlet.withdraw(gone)
    case.outlet.attach(wire, Allowance(9))

    assert wire.payloads == [b"1"]
