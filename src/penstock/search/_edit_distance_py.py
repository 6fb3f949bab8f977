"""How far apart two words are, pure Python. Compiled twins have it of csrc/edit_distance.c."""

TOO_FAR = 3


def near_distance(word: str, other: str, limit: int, prefix: int) -> int | None:
    """The distance of two words if it is at most `limit`, and None if it is above it.

    An edit inserts, removes or replaces one code point, or swaps two neighbours, which then are edited no
    more (Damerau, optimal string alignment).

    Args:
        word: one of both.
        other: the other one.
        limit: 0, 1 or 2 edits.
        prefix: code points at the start of `word` that must be equal, all of it if it has no more.

    Source: Damerau, A Technique for Computer Detection and Correction of Spelling Errors, 1964.
    """
    if abs(len(word) - len(other)) > limit or not other.startswith(word[:prefix]):
        return None
    if word == other:
        return 0
    letters, others = set(word), set(other)
    if len(letters - others) > limit or len(others - letters) > limit:
        return None  # an edit takes one letter at the most, and brings one; most words fall here
    found = within(word, other, limit)
    return found if found <= limit else None


def within(a: str, b: str, limit: int) -> int:
    """The distance of two words up to `limit`, or TOO_FAR.

    Where they differ first one edit is made, whichever leaves the least.
    """
    if abs(len(a) - len(b)) > limit:
        return TOO_FAR
    same = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        same += 1
    a, b = a[same:], b[same:]
    if not a or not b:
        return len(a) + len(b)
    if limit == 0:
        return TOO_FAR
    left = min(within(a[1:], b[1:], limit - 1), within(a[1:], b, limit - 1), within(a, b[1:], limit - 1))
    if a[:2] == b[1::-1]:
        left = min(left, within(a[2:], b[2:], limit - 1))
    return 1 + left if left < TOO_FAR else TOO_FAR
