"""Text taken apart into words, compiled: the twin of _words_py.py over csrc/words.c."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from penstock.search._arguments import is_encodable
from penstock.search._words_py import (
    WordRules,
    checked_rules,
    checked_text,
    in_the_text_given,
    initialised_twice,
    prepared,
)

__all__ = ["WordSplitter"]

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 greatest)
    void *PyUnicode_DATA(object text)
    unsigned PyUnicode_KIND(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    object PyUnicode_DecodeUTF8(const char *bytes, Py_ssize_t size, const char *errors)

cdef extern from "allocator.h":
    ctypedef struct ps_allocator:
        void *(*resize)(void *memory, size_t size) noexcept nogil
        void (*release)(void *memory) noexcept nogil

cdef extern from "status.h":
    ctypedef enum ps_status:
        PS_OK

cdef extern from "words.h" nogil:
    enum:
        PS_WORDS_ASCII
        PS_WORDS_UNICODE
    ctypedef struct ps_stop_words:
        pass
    ctypedef struct ps_word_rules:
        uint8_t segmentation
        bint lower
        uint32_t shortest
        uint32_t longest
        const ps_stop_words *stop_words
    ctypedef struct ps_word:
        const uint8_t *bytes
        uint32_t size
        size_t start
        size_t end
    ctypedef struct ps_words:
        pass
    ps_status ps_stop_words_init(ps_stop_words **set, const uint8_t *bytes, const uint32_t *sizes, uint32_t count,
                                 ps_allocator allocator)
    void ps_stop_words_free(ps_stop_words *set)
    void ps_words_begin(ps_words *words, const ps_word_rules *rules, const void *text, size_t n, unsigned width)
    bint ps_words_next(ps_words *words, ps_word *word)


@cython.final
cdef class WordSplitter:
    """WordSplitter(rules, /)\n--\n
    Takes text apart into words.

    With `unicode`, a word is what lies between two boundaries of UAX #29 and holds a letter, a digit, a kana
    or an ideograph. So `don't`, `3.14`, `a_b` and `example.com` are one word each; an ideograph is one alone,
    and so is a hiragana, and a letter of Thai, Lao, Khmer and Burmese, whose words nothing parts. A lone
    surrogate is in no word. Threads may share a splitter.

    Source: Unicode Standard Annex #29, 4.1; properties of Unicode 15.0.

    Args:
        rules: what parts words, and which are kept.

    Raises:
        ValueError: segmentation has another name, or longest is not between 1 and 255.
        TypeError: rules are no WordRules, or hold something of another type.
    """

    cdef ps_word_rules rules
    cdef ps_stop_words *stop_words
    cdef object given
    cdef bint begun

    def __cinit__(self, *_args):
        self.set_rules(WordRules())  # what a splitter has that nobody initialises

    def __init__(self, rules, /):
        cdef object checked = checked_rules(rules)
        if self.begun:
            raise initialised_twice()
        self.begun = True
        self.set_rules(checked)

    def __dealloc__(self):
        ps_stop_words_free(self.stop_words)

    def words(self, text, /):
        """The words of `text`, one after the other.

        Raises:
            TypeError: text is no str.
        """
        cdef ps_words words
        cdef ps_word word
        cdef list found = []
        text = prepared(self.given, checked_text(text))
        self.begin(&words, text)
        while ps_words_next(&words, &word):
            found.append(text_of(&word))
        return found

    def spans(self, text, /):
        """The words of `text` and where they stand.

        Returns:
            word, start and end of each: `text[start:end]` is what it came of.

        Raises:
            TypeError: text is no str.
        """
        cdef ps_words words
        cdef ps_word word
        cdef list found = []
        changed = prepared(self.given, checked_text(text))
        self.begin(&words, changed)
        while ps_words_next(&words, &word):
            found.append((text_of(&word), word.start, word.end))
        return in_the_text_given(found, self.given, text, changed)

    cdef int set_rules(self, given) except -1:
        segmentation, lower, _, shortest, longest, stop_words = given
        self.stop_words = stop_words_of(stop_words)
        self.rules.segmentation = PS_WORDS_ASCII if segmentation == "ascii" else PS_WORDS_UNICODE
        self.rules.lower = lower
        self.rules.shortest = shortest
        self.rules.longest = longest
        self.rules.stop_words = self.stop_words
        self.given = given
        return 0

    cdef void begin(self, ps_words *words, object text):
        ps_words_begin(words, &self.rules, PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), PyUnicode_KIND(text))


cdef inline object text_of(const ps_word *word):
    if word.size == word.end - word.start:  # a byte for each: ASCII
        text = PyUnicode_New(word.size, 127)
        memcpy(PyUnicode_DATA(text), word.bytes, word.size)
        return text
    return PyUnicode_DecodeUTF8(<const char *>word.bytes, word.size, NULL)


cdef ps_stop_words *stop_words_of(words) except? NULL:
    """The set for the kernel; NULL if there are none."""
    cdef ps_allocator allocator
    cdef ps_stop_words *made = NULL
    cdef list encoded = [word.encode() for word in words if is_encodable(word)]
    if not encoded:
        return NULL
    cdef bytes joined = b"".join(encoded)
    cdef uint32_t *sizes = <uint32_t *>realloc(NULL, len(encoded) * sizeof(uint32_t))
    if sizes is NULL:
        raise MemoryError
    for i, word in enumerate(encoded):
        sizes[<size_t>i] = len(word)
    allocator.resize, allocator.release = realloc, free
    status = ps_stop_words_init(&made, joined, sizes, len(encoded), allocator)
    free(sizes)
    if status != PS_OK:
        raise MemoryError
    return made
