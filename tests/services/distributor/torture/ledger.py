"""The table of docs/reliability.md: what every recorded run of the torture came to."""

from collections import Counter
from dataclasses import dataclass, field

BEGIN, END = "<!-- ledger: written by make torture -->", "<!-- end of the ledger -->"
HEAD = (
    "| date | commit | rounds | seeds | SIGKILL | at a system call | of them power cuts | clean stops"
    " | other faults | acknowledged | lost | dead letters | delivered twice |\n"
    "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)
ROWS_KEPT = 30
ENDS = ("kill", "crash", "power_cut", "clean_stop")


@dataclass
class Total:
    """What the rounds of a run come to."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    lost: int = 0
    dead: int = 0
    duplicated: int = 0
    slowest: float = 0.0
    """Seconds that the slowest of the fresh packets took."""
    failed: dict[int, list[str]] = field(default_factory=dict)
    """What was wrong, by the seed of the round."""

    def add(self, judgement):
        self.rounds += 1
        self.faults += judgement.faults
        self.acknowledged += judgement.acknowledged
        self.lost += judgement.lost
        self.dead += judgement.dead
        self.duplicated += judgement.duplicated
        self.slowest = max(self.slowest, judgement.seconds_to_deliver)
        if judgement.wrong:
            self.failed[judgement.seed] = judgement.wrong

    @property
    def other_faults(self):
        return sum(count for name, count in self.faults.items() if name not in (*ENDS, "test_was_late"))


def row_of(total, day, commit, first_seed):
    ends = " | ".join(f"{total.faults[name]:,}" for name in ENDS)
    seeds = f"{first_seed} to {first_seed + total.rounds - 1}"
    return (
        f"| {day} | {commit} | {total.rounds:,} | {seeds} | {ends} | {total.other_faults:,}"
        f" | {total.acknowledged:,} | {total.lost:,} | {total.dead:,} | {total.duplicated:,} |\n"
    )


def with_row(page, row):
    """The text of a page with one more row in its ledger, the newest first."""
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page must hold {BEGIN} and {END}")
    rows = [line for line in inside.splitlines(keepends=True) if line.startswith("|")][2:]
    return f"{before}{BEGIN}\n\n{HEAD}{row}{''.join(rows[: ROWS_KEPT - 1])}\n{END}{after}"
