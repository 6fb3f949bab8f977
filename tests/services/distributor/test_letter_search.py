"""The full-text index of dead letters: told of what comes and goes, read when somebody searches."""

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from penstock.services.distributor.letter_search import LETTERS_AT_ONCE, MAX_TEXT, LetterSearch

ROOM = 1 << 30


def letter(seq, *messages, error="told to fail", failed_at_ms=5):
    packet = {"id": f"p{seq}", "messages": [{"message": text} for text in messages]}
    return (seq, json.dumps(packet).encode(), 4, error, failed_at_ms)


def read_all(search, spool):
    while seqs := search.next_to_read():
        letters = [spool[seq] for seq in seqs if seq in spool]
        search.read(letters)
        search.end_reading(letters)


def found(search, query, **times):
    return set(search.find(query, **times).scores)


def test_the_newest_letters_are_read_first():
    search = LetterSearch(range(1, 2 * LETTERS_AT_ONCE), ROOM)
    search.died([2 * LETTERS_AT_ONCE])
    newest_first = search.next_to_read()
    assert newest_first == list(range(2 * LETTERS_AT_ONCE, LETTERS_AT_ONCE, -1))


def test_letters_that_did_not_fit_into_an_answer_are_asked_for_again():
    search = LetterSearch([1, 2, 3], ROOM)
    assert search.next_to_read() == [3, 2, 1]
    came = [letter(3, "three")]
    search.read(came)
    search.end_reading(came)
    assert search.next_to_read() == [2, 1]


def test_letters_whose_reading_failed_are_asked_for_again():
    search = LetterSearch([1, 2], ROOM)
    seqs = search.next_to_read()
    search.read([letter(2, "two")])  # as a thread may have done whose caller was cancelled
    search.end_reading(None)
    assert search.next_to_read() == seqs
    came = [letter(2, "two"), letter(1, "one")]
    search.read(came)
    search.end_reading(came)
    assert found(search, "two one") == {1, 2}


def test_letter_that_is_purged_while_it_is_read_is_not_found():
    search = LetterSearch([1, 2], ROOM)
    search.next_to_read()
    search.purged([2])
    came = [letter(2, "lost"), letter(1, "lost")]
    search.read(came)
    search.end_reading(came)
    assert found(search, "lost") == {1}
    assert search.next_to_read() == []


def test_only_so_much_of_a_letter_is_searched():
    spool = {
        1: letter(1, "x " * (MAX_TEXT // 2) + "beyond"),
        2: letter(2, "within", "x" * MAX_TEXT, "beyond"),
    }
    search = LetterSearch(spool, ROOM)
    read_all(search, spool)
    assert found(search, "beyond") == set()
    assert found(search, "within") == {2}


def test_id_is_found_whole_or_by_its_beginning_and_not_by_a_part():
    ids = {1: "8617B4995f-1ee", 2: "8617b4995f-1ef", 3: "8617b49960-1ee"}
    spool = {
        seq: (seq, json.dumps({"id": id_, "messages": [{"message": "x"}]}).encode(), 1, "lost", 5)
        for seq, id_ in ids.items()
    }
    search = LetterSearch(spool, ROOM)
    read_all(search, spool)
    assert found(search, "id:8617b4995f-1ee") == {1}
    assert found(search, "8617b4995f-1ee") == {1}
    assert found(search, "id:8617b4995*") == {1, 2}
    assert found(search, "id:1ee") == set()


def test_letter_that_cannot_be_read_is_found_by_its_error():
    spool = {1: (1, b'{"messages":"none"}', 1, "connection refused", 5), 2: (2, b"\xff", 1, "refused", 5)}
    search = LetterSearch(spool, ROOM)
    read_all(search, spool)
    assert found(search, "refused") == {1, 2}


def test_index_that_is_full_takes_no_more_until_something_is_purged():
    spool = {seq: letter(seq, f"word{seq} " * 50) for seq in range(2000)}
    search = LetterSearch(spool, 1)
    read_all(search, spool)
    assert len(search) == 0
    search = LetterSearch(spool, ROOM)
    read_all(search, spool)
    assert len(search) == search.find("p1").searched == 2000


class LettersComeAndGo(RuleBasedStateMachine):
    """Whatever happens in whatever order, a search finds what is in the spool, and nothing else."""

    def __init__(self):
        super().__init__()
        self.spool = {}
        self.search = LetterSearch([], ROOM)
        self.asked = None

    @rule(words=st.lists(st.sampled_from(["disk", "net", "full"]), max_size=3))
    def die(self, words):
        seq = len(self.spool) + 1 if not self.spool else max(self.spool) + 1
        self.spool[seq] = letter(seq, *words)
        self.search.died([seq])

    @rule(data=st.data())
    def purge(self, data):
        if self.spool:
            seq = data.draw(st.sampled_from(sorted(self.spool)))
            del self.spool[seq]
            self.search.purged([seq])

    @rule(most=st.integers(0, 3), failed=st.booleans())
    def read_some(self, most, failed):
        seqs = self.search.next_to_read()
        letters = [self.spool[seq] for seq in seqs][: most or None]
        if seqs:
            self.search.read(letters)
            self.search.end_reading(None if failed else letters)

    @rule(word=st.sampled_from(["disk", "net", "full"]))
    def search_now(self, word):
        read_all(self.search, self.spool)
        said = {seq: json.loads(body)["messages"] for seq, body, *_ in self.spool.values()}
        expected = {seq for seq, messages in said.items() if any(one["message"] == word for one in messages)}
        assert found(self.search, word) == expected


TestLettersComeAndGo = LettersComeAndGo.TestCase
TestLettersComeAndGo.settings = settings(max_examples=20, stateful_step_count=25)
