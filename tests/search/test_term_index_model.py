"""The best k are those of looking at every document, for random documents, plans, deletes and parameters."""

from importlib import import_module
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.search.plan import (
    AllNode,
    AnyNode,
    ConstNode,
    EveryNode,
    ExceptNode,
    MaskNode,
    PhraseNode,
    TermNode,
)
from penstock.search.scoring import BM25, TFIDF
from search.search_model import SearchModel, words_node

TWINS = [import_module(f"penstock.search._inverted_index_{impl}").TermIndex for impl in ("c", "py")]
FIELDS = 2

# few words, so that they meet; the first are in most documents
WORDS = [*"aaaaaabbbbcccddeefgh", "é", "日本", "aa"]
words = st.sampled_from([*WORDS, "nowhere"])
weights = st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, 2.0, 3.7, 1e9])
shares = st.sampled_from([0.25, 1.0, 1.0, 1.0, 2.0, 3.3])
scorers = st.builds(
    BM25,
    st.sampled_from([0.0, 0.3, 1.2, 2.0, 1e6]),
    st.sampled_from([0.0, 0.3, 0.75, 1.0]),
    st.sampled_from(["lucene", "robertson", "atire", "bm25+", "bm25l"]),
) | st.builds(TFIDF, st.sampled_from(["plain", "lucene"]))


@st.composite
def term_nodes(draw):
    numbers = draw(st.lists(st.integers(0, FIELDS - 1), min_size=1, max_size=FIELDS, unique=True))
    return TermNode(tuple((number, draw(words), draw(shares)) for number in numbers), draw(weights))


def phrase_nodes(most):
    terms = st.lists(st.sampled_from("aaabbc") | words, max_size=most).map(tuple)
    return st.builds(PhraseNode, st.integers(0, FIELDS - 1), terms, st.integers(0, 6), weights)


def plans(documents):
    """Trees over an index of so many live documents."""
    masks = st.binary(min_size=documents, max_size=documents).map(
        lambda bits: MaskNode(bytes(byte & 3 for byte in bits))
    )
    leaves = st.one_of(term_nodes(), term_nodes(), term_nodes(), phrase_nodes(2), masks, st.just(EveryNode()))

    def trees(below):
        several = st.lists(below, min_size=1, max_size=4).map(tuple)
        return st.one_of(
            st.builds(AnyNode, st.integers(1, 3), several),
            st.builds(AnyNode, st.just(1), several),
            st.builds(AllNode, st.lists(below, max_size=2).map(tuple)),
            st.builds(ExceptNode, below, st.lists(below, max_size=1).map(tuple)),
            st.builds(ConstNode, below, weights),
        )

    return st.recursive(leaves, trees, max_leaves=8)


def random_plan(random, documents, levels=3):
    """A tree of which, unlike those of hypothesis, most match something."""

    def below(least, most):
        count = random.randint(least, most)
        return tuple(random_plan(random, documents, levels - 1) for _ in range(count))

    weight = random.choice([0.0, 0.5, 1.0, 1.0, 2.0, 3.7])
    kind = random.random() if levels else random.random() / 2
    if kind < 0.35:
        numbers = random.sample(range(FIELDS), random.choice([1, 1, FIELDS]))
        word = random.choice(WORDS)
        return TermNode(
            tuple((number, word, random.choice([1.0, 1.0, 0.25, 3.3])) for number in numbers), weight
        )
    if kind < 0.46:
        terms = tuple(random.choices("aabbc", k=random.randint(1, 4)))
        return PhraseNode(random.randrange(FIELDS), terms, random.randint(0, 6), weight)
    if kind < 0.5:
        return random.choice([EveryNode(), MaskNode(bytes(random.randint(0, 2) for _ in range(documents)))])
    if kind < 0.7:
        return AnyNode(random.choice([1, 1, 2, 3]), below(1, 5))
    if kind < 0.8:
        return AllNode(below(1, 3))
    if kind < 0.9:
        return ExceptNode(random_plan(random, documents, levels - 1), below(0, 1))
    return ConstNode(random_plan(random, documents, levels - 1), weight)


@st.composite
def corpora(draw):
    return random_corpus(draw(st.integers(0, 1 << 32)), draw(st.integers(0, 30)))


def random_corpus(seed, documents):
    """A model, and the same in both twins: documents added, deleted and replaced, now and then compacted."""
    model, indexes = SearchModel(FIELDS), [twin(FIELDS, 0, True, None) for twin in TWINS]
    random = Random(seed)
    longest = random.choice([3, 12, 40])
    for number in range(documents):
        texts = [random.choices(WORDS, k=random.randint(0, longest)) for _ in range(FIELDS)]
        document = tuple(text if random.random() < 0.9 else None for text in texts)
        for index in (model, *indexes):
            index.add(number, document)
        if random.random() < 0.3:
            gone = random.randint(0, number)
            assert len({index.delete(gone) for index in (model, *indexes)}) == 1
        if random.random() < 0.2:
            again = random.choice([*model.documents, number + 1_000])
            model.delete(again)
            model.add(again, document)
            for index in indexes:
                index.replace(again, document)
        if random.random() < 0.1:
            for index in indexes:
                index.compact()
    return model, indexes


def check_ranking(model, indexes, plan, scorer, k, mask):
    """Both twins and the model find the same."""
    scores = model.scores(plan, scorer)
    for index in indexes:
        assert index.ids() == list(model.documents)
        assert list(index.scores(plan, scorer)) == [float(score or 0) for score in scores]
        assert list(index.matches(plan)) == [score is not None for score in scores]
        assert index.top(plan, scorer, k, mask) == model.top(plan, scorer, k, mask)


@settings(max_examples=100)
@given(st.data())
def test_plans_find_what_a_look_at_every_document_finds(data):
    model, indexes = data.draw(corpora())
    documents = len(model.documents)
    plan = data.draw(plans(documents))
    mask = data.draw(st.none() | st.binary(min_size=documents, max_size=documents))
    k = data.draw(st.sampled_from([0, 1, 2, 5, 1_000_000]))
    check_ranking(model, indexes, plan, data.draw(scorers), k, mask)


@pytest.mark.parametrize("seed", range(40))
def test_plans_that_match_find_what_a_look_at_every_document_finds(seed, scorer):
    random = Random(seed)
    model, indexes = random_corpus(seed, 25)
    documents = len(model.documents)
    for _ in range(3):
        mask = random.choice([None, None, bytes(random.randint(0, 2) for _ in range(documents))])
        check_ranking(model, indexes, random_plan(random, documents), scorer, random.randint(1, 9), mask)


@pytest.mark.parametrize("seed", range(40))
def test_phrases_find_what_a_look_at_every_document_finds(seed):
    random = Random(seed)
    model, indexes = random_corpus(seed, 25)
    for slop in range(7):
        terms = tuple(random.choices("aabbc", k=random.randint(2, 4)))
        check_ranking(model, indexes, PhraseNode(random.randrange(FIELDS), terms, slop), BM25(), 9, None)


@settings(max_examples=100)
@given(corpora(), st.lists(words, max_size=6), st.integers(0, 4), scorers, st.integers(0, 8))
def test_words_find_what_their_plan_finds(corpus, query, minimum, scorer, k):
    model, indexes = corpus
    ids, scores = model.top(words_node(query, minimum), scorer, k)
    most = min(k, len(model.documents))
    fill = most - len(ids)
    for index in indexes:
        assert index.top_words(query, minimum, scorer, k, None) == (ids, scores)
        found_ids, found_scores = index.top_many([query, [], query], minimum, scorer, k)
        assert list(found_ids) == (ids + [-1] * fill) + [-1] * most + (ids + [-1] * fill)
        assert list(found_scores) == (scores + [0.0] * fill) + [0.0] * most + (scores + [0.0] * fill)


@settings(max_examples=50)
@given(corpora(), st.sampled_from(["", "a", "é", "日", "x"]), st.integers(0, 6))
def test_counts_are_those_of_live_documents(corpus, prefix, most):
    model, indexes = corpus
    for number in range(FIELDS):
        terms = model.terms(number)
        begun = [each for each in terms if each[0].startswith(prefix)]
        kept = sorted(sorted(begun, key=lambda each: (-each[1], each[0]))[:most])
        for index in indexes:
            assert index.words_of(number) == model.words_of(number)
            assert index.terms(number, "", 1_000) == terms
            assert index.terms(number, prefix, most) == kept
            assert all(index.doc_freq(number, term) == df for term, df in terms)
            for doc_id, document in model.documents.items():
                found = document[number]
                counted = sorted((term, found.count(term)) for term in set(found))
                assert index.terms_of(doc_id, number) == counted
                for term, freq in counted:
                    assert index.frequency(doc_id, number, term) == (freq, len(found))
                    assert index.places(doc_id, number, term) == [i for i, w in enumerate(found) if w == term]


# ---- many documents: lists of several blocks, windows that are passed over ----


def zipf_words(random, vocabulary, length):
    """Words of which the first are frequent."""
    return [f"w{int(vocabulary ** random.random()) - 1}" for _ in range(length)]


def large_indexes(seed, documents, dead=0.2):
    """Both twins with the same documents: packed ones, others behind them, and some of all of them dead."""
    random = Random(seed)
    vocabulary = random.choice([20, 300, 5_000])
    lengths = random.choice([(5, 6), (1, 60), (0, 9)])
    indexes = [twin(1, 0, False, None) for twin in TWINS]
    bursts = random.random() < 0.5  # a word that is more frequent in some stretch of documents
    compact_at = random.choice([-1, documents // 3, documents // 2])
    for number in range(documents):
        text = zipf_words(random, vocabulary, random.randint(*lengths))
        if bursts and number // 100 % 5 == 0:
            text += ["w7"] * random.randint(0, 12)
        for index in indexes:
            index.add(number, (text,))
            if number == compact_at:
                index.compact()
    for number in random.sample(range(documents), int(documents * dead)):
        for index in indexes:
            index.delete(number)
    return random, vocabulary, indexes


def exhaustive_top(index, plan, scorer, k, mask):
    """The best k from the scores of all documents."""
    scores, matched = index.scores(plan, scorer), index.matches(plan)
    places = [place for place in range(len(index)) if matched[place] and (mask is None or mask[place])]
    best = sorted(places, key=lambda place: (-scores[place], place))[:k]
    ids = index.ids()
    return [ids[place] for place in best], [scores[place] for place in best]


@pytest.mark.parametrize("seed", range(12))
def test_pruned_ranking_is_the_exhaustive_one(seed):
    random, vocabulary, indexes = large_indexes(seed, documents=1_500 if seed % 3 else 6_000)
    scorers = [
        BM25(variant=variant, k1=random.choice([0.0, 0.9, 1.2, 3.0]), b=random.choice([0.0, 0.4, 0.75, 1.0]))
        for variant in ("lucene", "robertson", "atire", "bm25+", "bm25l")
    ]
    for scorer in [*scorers, TFIDF(), TFIDF("lucene")]:
        for _ in range(3):
            query = zipf_words(random, vocabulary, random.choice([1, 2, 3, 5, 12]))
            k = random.choice([1, 3, 10, 100, 10_000])
            live = len(indexes[0])
            rare = random.choice([2, 50])
            mask = random.choice([None, bytes(random.randrange(rare) == 0 for _ in range(live))])
            minimum = random.choice([0, 1, 1, 1, 2])
            plan = words_node(query, minimum)
            expected = exhaustive_top(indexes[1], plan, scorer, k, mask)
            for index in indexes:
                assert index.top_words(query, minimum, scorer, k, mask) == expected
                assert index.top(plan, scorer, k, mask) == expected
            assert indexes[0].scores(plan, scorer) == indexes[1].scores(plan, scorer)
            assert indexes[0].matches(plan) == indexes[1].matches(plan)


def test_ties_are_won_by_the_document_that_was_added_first(scorer):
    indexes = [twin(1, 0, False, None) for twin in TWINS]
    for index in indexes:
        index.add_many(range(3_000), [(["x", "y", f"z{number % 3}"],) for number in range(3_000)])
        for number in range(0, 3_000, 7):
            index.delete(number)
    first = [number for number in range(3_000) if number % 7][:25]
    for index in indexes:
        ids, scores = index.top_words(["x", "y"], 1, scorer, 25, None)
        assert ids == first
        assert len(set(scores)) == 1


def test_index_with_deleted_documents_scores_as_one_that_never_had_them(TermIndex, scorer):
    random = Random(5)
    documents = [zipf_words(random, 40, random.randint(0, 20)) for _ in range(600)]
    whole, never = TermIndex(1, 0, False, None), TermIndex(1, 0, False, None)
    gone = set(random.sample(range(600), 250))
    for number, document in enumerate(documents):
        whole.add(number, (document,))
        if number not in gone:
            never.add(number, (document,))
    for number in gone:
        whole.delete(number)
    for _ in range(20):
        plan = words_node(zipf_words(random, 40, 4), 1)
        assert whole.scores(plan, scorer) == never.scores(plan, scorer)
        assert whole.top(plan, scorer, 10, None) == never.top(plan, scorer, 10, None)


def test_index_of_many_segments_ranks_as_the_fallback_does():
    """More documents than the compiled twin keeps unpacked; then more dead ones than live ones."""
    random = Random(8)
    indexes = [twin(1, 1, False, None) for twin in TWINS]
    documents = [(zipf_words(random, 400, random.randint(1, 3)),) for _ in range(100_000)]
    for index in indexes:
        index.add_many(range(len(documents)), documents, [(number,) for number in range(len(documents))])
    gone = random.sample(range(len(documents)), 70_000)
    for dead in (0, len(gone)):
        for index in indexes:
            for number in gone[:dead]:
                index.delete(number)
            index.replace(5, (["w3", "w7"],), (dead,))
            index.add(200_000 + dead, (["w1", "w7"],), (dead,))
        assert indexes[0].ids() == indexes[1].ids()
        assert indexes[0].cells(0) == indexes[1].cells(0)
        assert indexes[0].terms(0, "", 1_000) == indexes[1].terms(0, "", 1_000)
        for minimum in (0, 1, 1, 2):
            plan = words_node(zipf_words(random, 400, 3), minimum)
            assert indexes[0].top(plan, BM25(), 10, None) == indexes[1].top(plan, BM25(), 10, None)
            assert indexes[0].scores(plan, BM25()) == indexes[1].scores(plan, BM25())
