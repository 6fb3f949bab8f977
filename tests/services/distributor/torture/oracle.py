"""The books: what was promised to producers, what reached analyzers, and the judgement."""

import json
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256


def packet_of(token, id_):
    """The packet that belongs to a token, whoever asks: what arrives is compared with it."""
    digest = sha256(token.encode()).hexdigest()
    text = f"{token} \N{SNOWMAN} " + digest * (1 + int(digest[:2], 16) // 8)  # up to some 2 KB
    messages = [
        {"message": text, "level": "ERROR", "source": f"torture-{digest[0]}", "metadata": {"token": token}}
    ]
    return {"messages": messages} if id_ is None else {"id": id_, "messages": messages}


@dataclass
class Oracle:
    """What producers and analyzers report."""

    tokens: int = 0
    obligations: set[str] = field(default_factory=set)
    """Tokens of packets that were answered as accepted."""
    deliveries: Counter[str] = field(default_factory=Counter)
    """How often analyzers have processed each token."""
    unclear: Counter[str] = field(default_factory=Counter)
    """How often they had processed it and gave an answer from which nobody could tell."""
    broken: list[str] = field(default_factory=list)
    """What arrived and was not what had been sent."""
    surprises: list[str] = field(default_factory=list)
    """Answers that no producer should get."""
    fresh: dict[str, float] = field(default_factory=dict)
    """When each token reached an analyzer first, by the clock of the test."""

    def next_token(self):
        self.tokens += 1
        return f"t{self.tokens}"

    def token_of(self, packet):
        """The token of a packet that came out, after a look at all that is in it."""
        token = packet["messages"][0].get("metadata", {}).get("token")
        if token is None:
            self.broken.append(json.dumps(packet)[:500])
            return f"no token in {packet['id']}"
        expected = packet_of(token, None)["messages"]
        if packet["messages"] != expected or set(packet) != {"id", "messages", "retry_count"}:
            self.broken.append(json.dumps(packet)[:500])
        return token

    def processed(self, tokens, now, *, unclear=False):
        self.deliveries.update(tokens)
        for token in tokens:
            self.fresh.setdefault(token, now)
        if unclear:
            self.unclear.update(tokens)


@dataclass
class Judgement:
    """What a round comes to."""

    seed: int
    faults: Counter[str]
    accepted: int = 0
    acknowledged: int = 0
    dead: int = 0
    lost: int = 0
    duplicated: int = 0
    """Deliveries beyond the first of a packet."""
    seconds_to_deliver: float = 0.0
    """That a fresh packet took after the faults had stopped."""
    wrong: list[str] = field(default_factory=list)
    """Which promises were broken, in words; empty when none was."""


def judge(oracle, dead, figures, *, seed, faults, in_flight):
    """Holds the books against the promises.

    Args:
        oracle: the books.
        dead: tokens of the dead letters.
        figures: the distributor's own, once nothing is pending.
        seed: of the round.
        faults: how often each happened.
        in_flight: packets that can be in flight at a time.
    """
    ended = set(oracle.deliveries) | dead
    lost = oracle.obligations - ended
    again = {token: count - 1 for token, count in oracle.deliveries.items() if count > 1}
    result = Judgement(
        seed, faults, figures["accepted"], len(oracle.obligations), len(dead), len(lost), sum(again.values())
    )
    say = result.wrong.append
    if lost:
        say(f"{len(lost)} acknowledged packets lost, such as {sorted(lost)[:5]}")
    if oracle.broken:
        say(f"{len(oracle.broken)} packets arrived changed, such as {oracle.broken[0]}")
    if oracle.surprises:
        say(f"{len(oracle.surprises)} answers that no producer should get, such as {oracle.surprises[0]}")
    if figures["conservation_error"]:
        say(f"conservation error {figures['conservation_error']}")
    if figures["pending"]:
        say(f"{figures['pending']} packets pending for ever")
    if figures["lost"]:
        say(f"{figures['lost']} packets counted as damaged on the disk")
    if figures["accepted"] != len(ended):
        say(f"{figures['accepted']} counted as accepted, {len(ended)} came out")
    if figures["dead"] != len(dead):
        say(f"{figures['dead']} counted as dead letters, {len(dead)} listed")
    interruptions = sum(faults[name] for name in INTERRUPTIONS)
    for token, count in again.items():
        if count > oracle.unclear[token] + interruptions:
            say(f"{token} was delivered {count + 1} times, for {oracle.unclear[token]} unclear answers")
            break
    unexplained = sum(max(0, count - oracle.unclear[token]) for token, count in again.items())
    if unexplained > interruptions * in_flight:
        say(f"{unexplained} duplicates for {interruptions} interruptions of {in_flight} packets at the most")
    return result


INTERRUPTIONS = ("kill", "crash", "freeze", "analyzer_restart", "test_was_late")
"""The faults after which packets that were in flight may be delivered again."""
