"""A leaderboard: who is on which place, who is around, and a view that does not move while scores do."""

import random

from penstock.btree import BTreeMap

dice = random.Random(1)
scores: dict[str, int] = {}
board: BTreeMap[tuple[int, str], None] = BTreeMap()  # (-score, player): the best score comes first


def play(player: str, points: int) -> None:
    if player in scores:
        del board[-scores[player], player]
    scores[player] = scores.get(player, 0) + points
    board[-scores[player], player] = None


def place(player: str) -> int:
    return board.rank((-scores[player], player)) + 1


for _ in range(50_000):
    play(f"player{dice.randrange(10_000)}", dice.randrange(100))

print(f"{len(board):,} players; the first three:")
for (score, player), _ in board.range(limit=3):
    print(f"  {player} with {-score}")

player = "player42"
here = place(player)
print(f"{player} is on place {here:,}, with these around:")
for index in range(here - 2, here + 1):
    (score, name), _ = board.select(index)
    print(f"  {index + 1:,}. {name} with {-score}")

at_noon, score_at_noon = board.snapshot(), scores[player]  # takes no time: changes copy what they touch
for _ in range(10_000):
    play(f"player{dice.randrange(10_000)}", dice.randrange(100))
print(f"{player} was on place {at_noon.rank((-score_at_noon, player)) + 1:,}, and is on {place(player):,}")

median = -board.select(len(board) // 2)[0][0]
ahead = board.count(max=(-500,))
print(f"half have {median} points or more; {ahead} have more than 500")
