"""What an analyzer answers to a delivery: which of its packets were not processed, and why."""

from collections.abc import Mapping, Sequence

import msgspec

from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.change import Stored
from penstock.services.printable import one_line

__all__ = ["MAX_WAIT", "MAX_WORDS", "PacketError", "Verdict", "failures_of"]

MAX_WORDS = 500
"""Characters of an analyzer's words that are kept."""
MAX_WAIT = 86_400.0
"""Seconds that an analyzer is left alone at the most when it asks for it; then it is asked again."""


class PacketError(msgspec.Struct, omit_defaults=True):
    """What an analyzer says of a packet that it did not process."""

    id: str
    error: str = "the analyzer gave no reason"
    status: int | None = None
    """Why, as a status of HTTP: 400 to 499 decides whether it is tried again. None: it is."""
    retry_after: float | None = None
    """Seconds for which it does not want the packet."""


class Verdict(msgspec.Struct):
    """An analyzer's answer to a delivery."""

    failed: list[PacketError] = []


DECODER = msgspec.json.Decoder(Verdict)


def failures_of(answer: bytes, packets: Sequence[Stored]) -> Mapping[str, PacketFailure]:
    """The failures of packets that were in this delivery; an answer that is no verdict names none.

    Raises:
        DeliveryFailed: something failed, but it cannot be read what.
    """
    try:
        verdict = DECODER.decode(answer)
    except msgspec.ValidationError as error:
        if "$.failed" in str(error):  # better delivered twice than lost
            raise DeliveryFailed(one_line(f"its answer cannot be read: {error}", MAX_WORDS)) from None
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if b'"failed"' in answer:  # a verdict that broke off, or is not quite JSON
            raise DeliveryFailed(one_line(f"its answer cannot be read: {error}", MAX_WORDS)) from None
        return {}
    if not verdict.failed:
        return {}
    sent = {packet.id for packet in packets}
    return {packet.id: failure_of(packet) for packet in verdict.failed if packet.id in sent}


def failure_of(packet: PacketError) -> PacketFailure:
    status, wait = packet.status, packet.retry_after
    return PacketFailure(
        one_line(packet.error, MAX_WORDS),
        status if status is not None and 400 <= status <= 599 else None,
        min(wait, MAX_WAIT) if wait is not None and wait > 0 else None,
    )
