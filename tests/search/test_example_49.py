"""Example 49: TF-IDF of five documents, with the scores that the reference really gives."""

import pytest

from penstock.search import TFIDF

DOCUMENTS = {
    1: (
        "Introduction to Python",
        "Python is a high-level programming language used for web development machine learning and "
        "automation",
    ),
    2: (
        "Python Machine Learning",
        "Machine learning with Python using scikit-learn tensorflow and neural networks for data science",
    ),
    3: (
        "Web Development with Django",
        "Django is a Python web framework for building scalable web applications with database ORM routing",
    ),
    4: (
        "Database Design Principles",
        "Relational database design normalization indexing transactions and query optimization with SQL",
    ),
    5: (
        "System Design Interviews",
        "System design patterns scalability load balancing caching database sharding microservices",
    ),
}


@pytest.fixture
def index(InvertedIndex):
    index = InvertedIndex(analyzer="reference", scorer=TFIDF())
    for doc_id, (title, body) in DOCUMENTS.items():
        index.add(doc_id, f"{title} {body}")
    return index


def ranking(index, query):
    return [(round(float(hit.score), 4), DOCUMENTS[hit.doc_id][0]) for hit in index.search(query, 3)]


PYTHON = [
    (0.2757, "Python Machine Learning"),
    (0.1903, "Introduction to Python"),
    (0.0300, "Web Development with Django"),
]
DATABASE = [
    (0.1879, "Database Design Principles"),
    (0.0393, "System Design Interviews"),
    (0.0300, "Web Development with Django"),
]


def test_python_machine_learning_finds_three_with_their_scores(index):
    assert ranking(index, "python machine learning") == PYTHON


def test_database_indexing_finds_three_with_their_scores(index):
    assert ranking(index, "database indexing") == DATABASE


def test_document_that_is_added_again_is_not_counted_twice(index):
    """The reference appends its postings once more and counts a sixth document."""
    for doc_id, (title, body) in DOCUMENTS.items():
        index.update(doc_id, f"{title} {body}")
    assert len(index) == 5
    assert ranking(index, "python machine learning") == PYTHON
    assert ranking(index, "database indexing") == DATABASE


def test_query_without_words_of_three_letters_finds_nothing(index):
    assert ranking(index, "a is to") == []
