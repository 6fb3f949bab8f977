"""An index of terms, compiled: the twin of _inverted_index_py.py over csrc/inverted_index.c and csrc/search_run.c.

term_index.h says how threads share it, term_search.h what a search works with, term_objects.h how text becomes words.

No code of others runs while a lock is held: arguments are made words, and words a plan, before; what was found is
copied out of the index, and becomes objects after. A thread that must wait for a lock lets go of the GIL first; nobody
holds the readers' lock alone while it waits for the GIL. So nothing here needs a GIL. A child that was forked while
another thread was in the index must not use it.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_AsUnsignedLongLong
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from array import array
from collections.abc import Sequence
from os import urandom

from penstock.search._arguments import (
    checked_cells,
    checked_column,
    checked_columns,
    checked_distance,
    checked_field,
    checked_field_weight,
    checked_fields,
    checked_id,
    checked_int,
    checked_k,
    checked_minimum,
    checked_most,
    checked_query,
    checked_query_term,
    checked_scorer,
    checked_slop,
    checked_weight,
    broken_segment,
    deep_plan,
    duplicate,
    frozen_index,
    id_to_find,
    is_encodable,
    large_plan,
    long_phrase,
    long_term,
    MOST_PHRASE_TERMS,
    no_positions,
    no_rules,
    no_words,
    not_empty,
    other_segment,
    repeated_field,
    too_many_documents,
    unencodable_term,
    unequal_cells,
    unequal_texts,
    unknown,
    wrong_mask,
    wrong_mask_length,
    wrong_node,
    wrong_node_part,
    wrong_text,
    wrong_text_count,
    wrong_texts,
    wrong_word,
    wrong_words,
)
from penstock.search._words_py import checked_rules, prepared
from penstock.search.plan import (
    DEEPEST,
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

__all__ = ["TermIndex"]

# For setup.py, which looks for kernels here; what is known of them stands in _inverted_index_c.pxd.
cdef extern from "inverted_index.h":
    pass
cdef extern from "search_run.h":
    pass
cdef extern from "words.h":
    pass
cdef extern from "edit_distance.h":
    pass
cdef extern from "utf8.h":
    pass

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc

cdef object EXACT_BM25 = BM25
cdef object EXACT_TFIDF = TFIDF

cdef enum:
    CHUNK = 64  # documents, or queries, between two moments at which others may have the GIL and the locks
    LONG_TEXT = 65_536  # code points of a document from which on it is taken apart without the GIL


# Arguments --------------------------------------------------------------------------------------------------


cdef inline int64_t whole(value, check) except -1:
    """A number >= 0 that `check` lets through; all beyond 2**32 - 1 are the same here."""
    cdef int overflow = 0
    cdef int64_t number
    if type(value) is not int:
        value = check(value)
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if number < 0 and overflow <= 0:
        check(value)
    return 0xFFFFFFFF if overflow > 0 or number > 0xFFFFFFFF else number


cdef int read_scorer(scorer, ps_scorer *kernel) except -1:
    if type(scorer) is not EXACT_BM25 and type(scorer) is not EXACT_TFIDF:
        checked_scorer(scorer)
    kernel.variant, kernel.k1, kernel.b, kernel.delta = scorer.kernel
    return 0


cdef object viewed(mask):
    """The bytes of a mask, however many."""
    try:
        view = memoryview(mask)
        return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.cast("B")
    except TypeError:
        raise wrong_mask(mask) from None


cdef object listed(values):
    """A list or a tuple, of which slices can be taken."""
    if type(values) is list or type(values) is tuple:
        return values
    return list(values.tolist() if hasattr(values, "tolist") else values)


cdef bint find_id(doc_id, ps_doc_id *found) except -1:
    """Whether an index could have this id; where it can, `doc_id` must live as long as `found`."""
    cdef int overflow = 0
    if isinstance(doc_id, str):
        return find_text_id(doc_id, found)
    if type(doc_id) is not int:
        doc_id = id_to_find(doc_id)
    found.bytes = NULL
    found.number = PyLong_AsLongLongAndOverflow(doc_id, &overflow)
    return overflow == 0


cdef bint find_text_id(doc_id, ps_doc_id *found) except -1:
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(doc_id)
    if PyUnicode_IS_ASCII(doc_id):
        found.bytes = <const uint8_t *>PyUnicode_DATA(doc_id)
    else:
        try:
            found.bytes = <const uint8_t *>PyUnicode_AsUTF8AndSize(doc_id, &size)
        except UnicodeEncodeError:
            return False
    found.size = size
    return True


cdef int read_id(doc_id, ps_doc_id *read) except -1:
    """The id of a document that is to be added; `doc_id` must live as long as `read`."""
    if not find_id(doc_id, read):
        checked_id(doc_id, None)
    return 0


cdef object array_at(object made, void **data):
    """An array, and where its items are."""
    cdef Py_buffer view
    PyObject_GetBuffer(made, &view, PyBUF_WRITABLE)
    data[0] = view.buf
    PyBuffer_Release(&view)  # nobody else knows the array: it stays where it is
    return made


cdef object array_of(str typecode, const void *items, size_t n):
    cdef void *data
    made = array_at(array(typecode, (0,)) * n, &data)
    memcpy(data, items, n * 8)
    return made


cdef ps_stop_words *stop_words_of(words) except? NULL:
    """The set for the kernel; NULL if there are none."""
    cdef ps_stop_words *made = NULL
    cdef list encoded = [word.encode() for word in words if is_encodable(word)]
    if not encoded:
        return NULL
    cdef bytes joined = b"".join(encoded)
    cdef ps_status status
    sizes = array("I", map(len, encoded))
    cdef void *data
    array_at(sizes, &data)
    status = ps_stop_words_init(&made, joined, <const uint32_t *>data, len(encoded), PYTHON_MEMORY)
    if status != PS_OK:
        raise MemoryError()
    return made


cdef object failed(ps_status status):
    """The error that a kernel's status means."""
    return broken_segment() if status == PS_BROKEN else MemoryError()


cdef object refused(ps_outcome outcome, doc_id):
    """The error that the outcome of a change means."""
    if outcome == PS_DUPLICATE:
        return duplicate(doc_id)
    if outcome == PS_OTHER_KIND:
        return other_kind(doc_id)
    if outcome == PS_FULL:
        return too_many_documents()
    if outcome == PS_FROZEN:
        return frozen_index()
    return broken_segment() if outcome == PS_UNREADABLE else MemoryError()


cdef object other_kind(doc_id):
    try:
        checked_id(doc_id, not isinstance(doc_id, str))
    except TypeError as error:
        return error
    raise AssertionError(f"doc_id was refused and still may be {doc_id!r}")


# Plans ------------------------------------------------------------------------------------------------------


cdef class Plan:
    """Nodes as the kernel has them, made of a tree of Python's."""

    cdef ps_search *search
    cdef uint32_t fields
    cdef bint positions
    cdef list views  # of masks: the bytes live as long as these
    cdef dict seen  # where the bytes of a mask are, and how many -> the first mask of them

    def __cinit__(self):
        self.views = []
        self.seen = {}

    cdef int add(self, node, int level) except -1:
        """Checks a node and those below it, in order, and writes them behind those that are there."""
        if self.search.node_count >= PS_PLAN_NODES:
            raise large_plan()
        if level > DEEPEST:
            raise deep_plan()
        if isinstance(node, TermNode):
            self.add_term(node)
        elif isinstance(node, PhraseNode):
            self.add_phrase(node)
        elif isinstance(node, AnyNode):
            self.add_node(PS_ANY, 0).minimum = <uint32_t>min(checked_minimum(node.minimum, 1), 0xFFFFFFFF)
            self.add_below(node.children, "children", level)
        elif isinstance(node, AllNode):
            self.add_node(PS_ALL, 0)
            self.add_below(node.children, "children", level)
        elif isinstance(node, ExceptNode):
            self.add_node(PS_EXCEPT, 0)
            if not isinstance(node.excluded, tuple):
                raise wrong_node_part("excluded", node.excluded)
            self.add_below((node.child, *node.excluded), "excluded", level)
        elif isinstance(node, MaskNode):
            self.add_mask(node.mask)
        elif isinstance(node, ConstNode):
            self.add_node(PS_CONST, checked_weight("score", node.score))
            self.add_below((node.child,), "child", level)
        elif isinstance(node, EveryNode):
            self.add_node(PS_EVERY, 0)
        else:
            raise wrong_node(node)
        return 0

    cdef ps_plan_node *add_node(self, uint8_t kind, double weight) except NULL:
        cdef ps_plan_node *node = ps_plan_node_add(self.search, kind, weight)
        if node is NULL:
            raise MemoryError()
        return node

    cdef int add_below(self, children, str name, int level) except -1:
        cdef size_t parent = self.search.node_count - 1
        cdef uint32_t before = PS_NO_NODE, at
        if not isinstance(children, tuple):
            raise wrong_node_part(name, children)
        for child in children:
            at = <uint32_t>self.search.node_count
            if before == PS_NO_NODE:
                self.search.nodes[parent].child = at
            else:
                self.search.nodes[before].sibling = at
            self.add(child, level + 1)
            before = at
        return 0

    cdef int add_word(self, size_t node, uint32_t field, term, double weight) except -1:
        cdef uint32_t size
        cdef ps_term_fault fault = ps_query_term(self.search, <PyObject *>term, &size)
        if fault == PS_TERM_NO_TEXT:
            raise wrong_word(term)
        if fault != PS_TERM_FITS or not ps_plan_word_add(self.search, field, size, weight):
            raise MemoryError()
        self.search.nodes[node].words += 1
        return 0

    cdef int add_term(self, term) except -1:
        cdef size_t at = self.search.node_count
        cdef set seen = set()
        self.add_node(PS_TERM, checked_weight("weight", term.weight))
        if not isinstance(term.words, tuple):
            raise wrong_node_part("words", term.words)
        if not term.words:
            raise no_words()
        for word in term.words:
            if not isinstance(word, tuple) or len(word) != 3:
                raise wrong_node_part("word", word)
            field = checked_field(word[0], self.fields)
            self.add_word(at, field, checked_query_term(word[1]), checked_field_weight(word[2]))
            if field in seen:
                raise repeated_field(field)
            seen.add(field)
        return 0

    cdef int add_phrase(self, phrase) except -1:
        cdef size_t at = self.search.node_count
        cdef uint32_t field
        self.add_node(PS_PHRASE, checked_weight("weight", phrase.weight))
        field = checked_field(phrase.field, self.fields)
        self.search.nodes[at].slop = checked_slop(phrase.slop)
        if not isinstance(phrase.terms, tuple):
            raise wrong_node_part("terms", phrase.terms)
        if len(phrase.terms) > MOST_PHRASE_TERMS:
            raise long_phrase(len(phrase.terms))
        for term in phrase.terms:
            self.add_word(at, field, term, 1)
        if not self.positions:
            raise no_positions()
        return 0

    cdef int add_mask(self, mask) except -1:
        cdef size_t at = self.search.node_count
        view = viewed(mask)
        cdef Py_buffer *buffer = PyMemoryView_GET_BUFFER(view)
        self.add_node(PS_MASK, 0)
        same_as = self.seen.setdefault((<size_t>buffer.buf, buffer.len), self.search.mask_count)
        if not ps_plan_mask_add(self.search, at, buffer.buf, buffer.len, same_as):
            raise MemoryError()
        self.views.append(view)
        return 0


def checked_words_minimum(minimum):
    return checked_minimum(minimum, 0)


def checked_prefix_length(length):
    return checked_int("prefix_length", length, 0)


# Documents --------------------------------------------------------------------------------------------------


cdef class Chunk:
    """Room for CHUNK documents."""

    cdef ps_document *documents
    cdef ps_field_text *texts
    cdef uint64_t *cells

    def __cinit__(self, size_t fields, size_t columns):
        self.documents = <ps_document *>PyMem_RawMalloc(CHUNK * sizeof(ps_document))
        self.texts = <ps_field_text *>PyMem_RawMalloc(CHUNK * fields * sizeof(ps_field_text))
        self.cells = <uint64_t *>PyMem_RawMalloc(CHUNK * columns * sizeof(uint64_t) + 1)
        if self.documents is NULL or self.texts is NULL or self.cells is NULL:
            raise MemoryError()
        memset(self.documents, 0, CHUNK * sizeof(ps_document))

    def __dealloc__(self):
        PyMem_RawFree(self.documents)
        PyMem_RawFree(self.texts)
        PyMem_RawFree(self.cells)


# The index --------------------------------------------------------------------------------------------------


cdef class TermIndex:
    """TermIndex(fields, columns, positions, rules, /)\n--\n
    Which documents hold which words: documents are words, or text to take apart, and queries are plans.

    Documents are searched from the moment `add` returns until `delete` does. Whatever the index tells of
    documents, frequencies and averages is of live ones: an index from which a document was deleted answers as
    one that never had it. Of documents with equal scores that which was added first comes first.

    Any number of threads may call everything at once.

    Args:
        fields: texts that a document has, 1 to 16.
        columns: numbers that a document has beside them, 0 to 64.
        positions: whether to keep where words stand, which phrases need.
        rules: how text is taken apart; None: documents and queries are sequences of words.

    Raises:
        InvalidValue: fields or columns are too many or too few.

    Source: Zobel and Moffat, Inverted Files for Text Search Engines, 2006.
    """

    cdef ps_shared_index shared
    cdef object rules
    cdef ps_stop_words *stop_words
    cdef uint32_t fields, columns
    cdef bint positions
    cdef bint begun

    def __cinit__(self, fields, columns, positions, rules, /):
        self.fields = checked_fields(fields)
        self.columns = checked_columns(columns)
        self.positions = bool(positions)
        if rules is not None:
            self.set_rules(checked_rules(rules))
        cdef uint64_t seed = int.from_bytes(urandom(8))
        if ps_shared_begin(
            &self.shared, self.fields, self.columns, self.positions, seed, PYTHON_MEMORY
        ) != PS_OK:
            raise MemoryError()
        self.begun = True

    def __init__(self, fields, columns, positions, rules, /):
        pass

    def __dealloc__(self):
        if self.begun:
            ps_searches_free(&self.shared)
            ps_shared_end(&self.shared)
            self.settle()
        ps_stop_words_free(self.stop_words)

    cdef int set_rules(self, rules) except -1:
        self.rules = rules
        self.stop_words = stop_words_of(rules.stop_words)
        self.shared.rules.segmentation = PS_WORDS_ASCII if rules.segmentation == "ascii" else PS_WORDS_UNICODE
        self.shared.rules.lower = rules.lower
        self.shared.rules.shortest = rules.shortest
        self.shared.rules.longest = rules.longest
        self.shared.rules.stop_words = self.stop_words
        self.shared.has_rules = True
        return 0

    cdef int settle(self) except -1:
        """Gives back what mapped segments were lent: code of others may run."""
        cdef ps_loan *loan = ps_loans_back(&self.shared)
        cdef ps_loan *next
        while loan is not NULL:
            next = loan.next
            PyBuffer_Release(&loan.view)
            PyMem_RawFree(loan)
            loan = next
        return 0

    cdef ps_search *take(self) except NULL:
        """Memory for a search, with nothing in it; `ps_search_put` ends it."""
        cdef ps_search *search = ps_search_take(&self.shared)
        if search is NULL:
            raise MemoryError()
        ps_search_clear(search)
        return search

    cdef int enter(self, bint by_id=False) except -1:
        """Into the index, to read; ps_leave ends it."""
        cdef ps_status status = PS_OK
        if ps_enter_try(&self.shared, by_id):
            return 0
        with nogil:
            if by_id:
                status = ps_enter_by_id(&self.shared)
            else:
                ps_enter(&self.shared)
        if status != PS_OK:
            raise failed(status)
        return 0

    # Changing -----------------------------------------------------------------------------------------------

    def add(self, doc_id, texts, cells=(), /):
        """Adds a document; on any error it is not there, and its id is free.

        Args:
            doc_id: an int of 64 bits or a str; all of one kind, that of the first document.
            texts: for each field a str, which the rules take apart, its words, or None. Words have at most
                255 code points.
            cells: an unsigned int of 64 bits for each column.

        Raises:
            DuplicateDocument: there is a document of this id.
            FrozenIndexError: the index is frozen.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        self.put(doc_id, texts, cells, False)

    def replace(self, doc_id, texts, cells=(), /):
        """Adds a document in the place of the one of this id, if there is one; it is the last one then.

        Whoever searches meanwhile finds one of the two. On any error the old one stays.

        Args:
            doc_id: as for `add`.
            texts: as for `add`.
            cells: as for `add`.

        Raises:
            FrozenIndexError: the index is frozen.
            InvalidType, InvalidValue: an argument is not allowed.
        """
        self.put(doc_id, texts, cells, True)

    def add_many(self, ids, texts, cells=None, /):
        """Adds documents one after the other; those before one that is refused stay.

        Args:
            ids: (n,) ids.
            texts: (n,) what `add` takes; if the index has one field, a str does too.
            cells: (n,) what `add` takes; None if there are no columns.

        Raises:
            DuplicateDocument, FrozenIndexError, InvalidType, InvalidValue: as `add`; or lengths differ.
        """
        cdef size_t at = 0, done
        if len(texts) != len(ids):
            raise unequal_texts(len(ids), len(texts))
        if cells is not None and len(cells) != len(ids):
            raise unequal_cells(len(ids), len(cells))
        ids, texts, cells = listed(ids), listed(texts), None if cells is None else listed(cells)
        cdef ps_search *memory = self.take()
        cdef Chunk chunk
        try:
            chunk = Chunk.__new__(Chunk, self.fields, self.columns)
            while at < <size_t>len(ids):
                PyErr_CheckSignals()
                done = self.add_chunk(
                    memory, chunk, ids[at : at + CHUNK], texts[at : at + CHUNK],
                    None if cells is None else cells[at : at + CHUNK],
                )
                if done == 0:
                    break  # somebody has shortened the lists
                at += done
        finally:
            ps_search_put(&self.shared, memory)

    def begin_many(self):
        """Many documents are to come, until `end_many`."""
        with nogil:
            ps_bulk_begin(&self.shared)

    def end_many(self, added, /):
        """They are there, so many of them; if they are worth it, they are packed. O(n) now and then."""
        cdef bint pack = added >= PS_BULK_DOCS
        with nogil:
            ps_bulk_end(&self.shared, pack)
        self.settle()

    def delete(self, doc_id, /):
        """Removes a document; says whether it was there. O(its different words).

        Raises:
            FrozenIndexError: the index is frozen.
            InvalidType: `doc_id` is neither an int nor a str.
        """
        cdef ps_doc_id id
        cdef ps_outcome outcome
        cdef bint possible = find_id(doc_id, &id)
        if not possible:
            id.bytes, id.number = NULL, 0
        if ps_change_try(&self.shared):
            outcome = ps_delete_document(&self.shared, id) if possible else self.delete_nothing()
            self.end_change()
        else:
            with nogil:
                ps_change_wait(&self.shared)
                outcome = ps_delete_document(&self.shared, id) if possible else self.delete_nothing()
                if ps_change_end(&self.shared):
                    ps_merge_parts(&self.shared)
            self.settle()
        if outcome == PS_DONE or outcome == PS_DUPLICATE:
            return outcome == PS_DONE
        raise refused(outcome, doc_id)

    cdef ps_outcome delete_nothing(self) noexcept nogil:
        return PS_FROZEN if self.shared.index.frozen else PS_DUPLICATE

    cdef int end_change(self) except -1:
        """Ends a change that was made with the GIL; merges are made without."""
        if ps_change_end(&self.shared):
            with nogil:
                ps_merge_parts(&self.shared)
            self.settle()
        return 0

    cdef int put(self, doc_id, texts, cells, bint replace) except -1:
        cdef ps_document document
        cdef ps_field_text fields[16]
        cdef uint64_t numbers[64]
        cdef ps_outcome outcome
        cdef size_t points = 0
        cdef uint32_t field
        cdef ps_search *memory = self.take()
        try:
            document.replace = replace
            held = self.gather(memory, doc_id, texts, cells, &document, fields, numbers)
            ps_documents_end(memory, &document, 1, self.fields)
            for field in range(self.fields):
                points += fields[field].n
            if points < LONG_TEXT and ps_change_try(&self.shared):
                outcome = ps_add_document(&self.shared, &document)
                self.end_change()
            else:
                with nogil:
                    ps_change_wait(&self.shared)
                    outcome = ps_add_document(&self.shared, &document)
                    if ps_change_end(&self.shared):
                        ps_merge_parts(&self.shared)
                self.settle()
            if outcome != PS_DONE:
                raise refused(outcome, doc_id)
        finally:
            ps_search_put(&self.shared, memory)
        return 0

    cdef size_t add_chunk(self, ps_search *memory, Chunk chunk, ids, texts, cells) except? 0:
        """Adds up to CHUNK documents; how many. What is refused is so after those before it were added."""
        cdef size_t n = min(len(ids), len(texts), len(texts) if cells is None else len(cells)), ready = 0, done = 0
        cdef ps_outcome outcome
        cdef list held = []
        error = None
        ps_search_clear(memory)
        try:
            for ready in range(n):
                doc_id, text = ids[ready], texts[ready]
                if self.fields == 1 and isinstance(text, str):
                    text = (text,)
                changed = self.gather(
                    memory, doc_id, text, () if cells is None else cells[ready], &chunk.documents[ready],
                    &chunk.texts[ready * self.fields], &chunk.cells[ready * self.columns],
                )
                held.append((doc_id, text, changed))
            ready = n
        except BaseException as refusal:
            error = refusal
        ps_documents_end(memory, chunk.documents, ready, self.fields)
        with nogil:
            ps_change_wait(&self.shared)
            outcome = ps_add_documents(&self.shared, chunk.documents, ready, &done)
            if ps_change_end(&self.shared):
                ps_merge_parts(&self.shared)
        self.settle()
        if outcome != PS_DONE:
            raise refused(outcome, ids[done])
        if error is not None:
            raise error
        return n

    cdef object gather(
        self, ps_search *memory, doc_id, texts, cells, ps_document *document, ps_field_text *fields, uint64_t *numbers
    ):
        """Reads a document; what is returned, the id and the texts must live until it was added."""
        cdef uint32_t i
        cdef object held = None
        read_id(doc_id, &document.id)
        if not isinstance(texts, tuple):
            raise wrong_texts(texts)
        if type(texts) is not tuple:
            held = texts = tuple(texts)
        if <size_t>len(texts) != self.fields:
            raise wrong_text_count(self.fields, len(texts))
        if cells or self.columns or type(cells) is not tuple:
            cells = checked_cells(cells, self.columns)
            for i in range(self.columns):
                numbers[i] = cells[i]
        for i in range(self.fields):
            changed = self.gather_text(memory, texts[i], &fields[i])
            if changed is not None:
                held = (held, changed)
        document.texts = fields
        document.cells = numbers
        return held

    cdef object gather_text(self, ps_search *memory, text, ps_field_text *field):
        """Reads the text of a field: where it is, or its words; returns the text that it was changed to, or None."""
        changed = None
        if isinstance(text, str):
            if not self.shared.has_rules:
                raise no_rules()
            if not PyUnicode_IS_ASCII(text):
                text = changed = prepared(self.rules, text)
            field.data = <const uint8_t *>PyUnicode_DATA(text)
            field.n = PyUnicode_GET_LENGTH(text)
            field.width = PyUnicode_KIND(text)
            return changed
        field.data = <const uint8_t *><size_t>memory.text.size
        field.n = field.width = 0
        if text is None:
            return None
        if type(text) is not list and type(text) is not tuple:
            if isinstance(text, (bytes, bytearray, memoryview)) or not isinstance(text, Sequence):
                raise wrong_text(text)
        self.gather_words(memory, tuple(text))
        field.n = memory.text.size - <size_t>field.data
        return None

    cdef int gather_words(self, ps_search *memory, tuple words) except -1:
        cdef Py_ssize_t wrong = 0
        cdef ps_term_fault fault = ps_words_to_pile(memory.allocator, &memory.text, <PyObject *>words, &wrong)
        if fault == PS_TERM_NO_TEXT:
            raise wrong_word(words[wrong])
        if fault == PS_TERM_LONG:
            raise long_term(len(words[wrong]))
        if fault == PS_TERM_SURROGATE:
            raise unencodable_term(words[wrong])
        if fault != PS_TERM_FITS:
            raise MemoryError()
        return 0

    # Documents ----------------------------------------------------------------------------------------------

    def __len__(self):
        self.enter()
        cdef uint32_t live = self.shared.index.live
        ps_leave(&self.shared)
        return live

    def __contains__(self, doc_id):
        cdef ps_doc_id id
        cdef bint found
        try:
            if not find_id(doc_id, &id):
                return False
        except TypeError:
            return False
        self.enter(True)
        found = ps_ordinal_of(&self.shared, id) != 0xFFFFFFFF
        ps_leave(&self.shared)
        return found

    def ids(self):
        """(n,) ids of live documents in the order of adding."""
        cdef ps_status status
        cdef ps_search *search = self.take()
        try:
            with nogil:
                ps_enter(&self.shared)
                status = ps_search_all_ids(&self.shared, search)
                ps_leave(&self.shared)
            if status != PS_OK:
                raise failed(status)
            return ps_list_of_ids(search)
        finally:
            ps_search_put(&self.shared, search)

    def cells(self, column, /):
        """(n,) uint64, the numbers of a column of live documents in the order of adding.

        Raises:
            InvalidValue: there is no such column.
        """
        cdef ps_status status
        cdef uint32_t number = checked_column(column, self.columns)
        cdef uint64_t *cells = NULL
        cdef ps_search *search = self.take()
        try:
            with nogil:
                ps_enter(&self.shared)
                status = ps_search_cells(&self.shared, search, number, &cells)
                ps_leave(&self.shared)
            if status != PS_OK:
                raise failed(status)
            return array_of("Q", cells, search.live)
        finally:
            PyMem_RawFree(cells)
            ps_search_put(&self.shared, search)

    def mask_of(self, ids, /):
        """(n,) a byte for each live document in the order of adding, 1 if its id is among `ids`, else 0.

        Ids that the index does not have are passed over.
        """
        cdef ps_status status
        cdef size_t n = 0
        cdef uint8_t *bytes = NULL
        cdef list wanted = list(ids)
        cdef ps_doc_id *found = <ps_doc_id *>PyMem_RawMalloc((len(wanted) + 1) * sizeof(ps_doc_id))
        cdef ps_search *search = NULL
        try:
            if found is NULL:
                raise MemoryError()
            search = self.take()
            for doc_id in wanted:
                try:
                    n += find_id(doc_id, &found[n])
                except TypeError:
                    pass  # an index has no such id
            with nogil:
                status = ps_enter_by_id(&self.shared)
                if status == PS_OK:
                    status = ps_search_ids_mask(&self.shared, search, found, n, &bytes)
                    ps_leave(&self.shared)
            if status != PS_OK:
                raise failed(status)
            return bytearray(<const char[:search.live]>(<const char *>bytes)) if search.live else bytearray()
        finally:
            PyMem_RawFree(found)
            PyMem_RawFree(bytes)
            if search is not NULL:
                ps_search_put(&self.shared, search)

    # Searching ----------------------------------------------------------------------------------------------

    def top(self, plan, scorer, k, mask, /):
        """The k best documents that a plan matches, best first.

        Args:
            plan: a tree of nodes.
            scorer: a `BM25` or a `TFIDF`.
            k: how many at the most, >= 0.
            mask: (n,) bytes or bools for live documents in the order of adding; only those with what is not 0
                can be found. None: all.

        Returns:
            (m,) ids, (m,) scores, m <= k.

        Raises:
            QueryTooLarge: the plan has too many nodes or levels.
            InvalidType, InvalidValue: an argument, a node or the length of the mask is not allowed.
        """
        cdef size_t most = whole(k, checked_k)
        cdef ps_search *search = self.take()
        try:
            views = self.read_plan(search, plan)
            return self.best(search, scorer, most, mask)
        finally:
            ps_search_put(&self.shared, search)

    def top_words(self, words, minimum, scorer, k, mask, /):
        """The k best documents for words of the first field, best first.

        A word that comes more than once counts as often. Of more than 1,024 different words the first count,
        so that no text is too long a query.

        Args:
            words: a str, which the rules take apart, or words.
            minimum: how many different ones a document must hold; 0: all of them.
            scorer: as for `top`.
            k: as for `top`.
            mask: as for `top`.

        Returns:
            (m,) ids, (m,) scores, m <= k.

        Raises:
            InvalidType, InvalidValue: an argument or the length of the mask is not allowed.
        """
        cdef uint32_t least = <uint32_t>whole(minimum, checked_words_minimum)
        cdef size_t most = whole(k, checked_k)
        cdef ps_search *search = self.take()
        try:
            self.read_words(search, words, least)
            return self.best(search, scorer, most, mask)
        finally:
            ps_search_put(&self.shared, search)

    def top_many(self, queries, minimum, scorer, k, /):
        """What `top_words` finds for each of many queries; k counts as `len` of the index if it is greater.

        Returns:
            (queries * k,) ids: int64, filled up with -1; or, if ids are texts, a list, filled up with None;
            and (queries * k,) float64 scores, filled up with 0.

        Raises:
            InvalidType, InvalidValue: as `top_words`; then there is no result at all.
        """
        cdef uint32_t least = <uint32_t>whole(minimum, checked_words_minimum)
        cdef size_t most = whole(k, checked_k), at = 0
        cdef ps_scorer kernel
        cdef void *numbers = NULL
        cdef void *scores = NULL
        cdef bint text_ids
        read_scorer(scorer, &kernel)
        queries = tuple(listed(queries))  # one that nobody can shorten
        cdef size_t n = len(queries)
        self.enter()
        if most > self.shared.index.live:
            most = self.shared.index.live
        text_ids = ps_has_text_ids(&self.shared)
        ps_leave(&self.shared)
        values = array_at(array("d", (0.0,)) * <Py_ssize_t>(n * most), &scores)
        ids = [None] * <Py_ssize_t>(n * most) if text_ids else array_at(array("q", (-1,)) * <Py_ssize_t>(n * most), &numbers)
        cdef ps_search *search = self.take()
        try:
            while at < n:
                PyErr_CheckSignals()
                at += self.best_of_chunk(
                    search, queries[at : min(at + CHUNK, n)], least, &kernel, most, ids, at * most, <int64_t *>numbers,
                    <double *>scores,
                )
        finally:
            ps_search_put(&self.shared, search)
        return ids, values

    def scores(self, plan, scorer, /):
        """(n,) float64, scores of live documents in the order of adding, 0 where the plan does not match.

        Raises:
            QueryTooLarge, InvalidType, InvalidValue: as `top`.
        """
        cdef ps_scorer kernel
        cdef double *scores = NULL
        cdef ps_search *search = self.take()
        try:
            read_scorer(scorer, &kernel)
            views = self.read_plan(search, plan)
            self.all_scores(search, &kernel, &scores, NULL)
            return array_of("d", scores, search.live)
        finally:
            PyMem_RawFree(scores)
            ps_search_put(&self.shared, search)

    def matches(self, plan, /):
        """(n,) a byte for each live document in the order of adding, 1 where the plan matches, else 0.

        Raises:
            QueryTooLarge, InvalidType, InvalidValue: as `top`.
        """
        cdef ps_scorer kernel
        cdef uint8_t *matched = NULL
        cdef ps_search *search = self.take()
        try:
            memset(&kernel, 0, sizeof(kernel))
            views = self.read_plan(search, plan)
            self.all_scores(search, &kernel, NULL, &matched)
            return PyBytes_FromStringAndSize(<const char *>matched, search.live)
        finally:
            PyMem_RawFree(matched)
            ps_search_put(&self.shared, search)

    cdef object read_plan(self, ps_search *search, plan):
        """Writes a plan; what is returned must live as long as the plan."""
        cdef Plan made = Plan.__new__(Plan)
        made.search, made.fields, made.positions = search, self.fields, self.positions
        made.add(plan, 1)
        return made

    cdef int read_words(self, ps_search *search, words, uint32_t minimum) except -1:
        """Writes the plan of a query that is words."""
        cdef ps_status status
        cdef ps_term_fault fault
        if not ps_query_begin(search):
            raise MemoryError()
        if isinstance(words, str):
            if not self.shared.has_rules:
                raise wrong_words(words)
            if not PyUnicode_IS_ASCII(words):
                words = prepared(self.rules, words)
            status = ps_query_text(
                search, &self.shared.rules, PyUnicode_DATA(words), PyUnicode_GET_LENGTH(words), PyUnicode_KIND(words)
            )
            if status != PS_OK:
                raise MemoryError()
        else:
            if type(words) is not list and type(words) is not tuple:
                checked_query(words)
            objects = tuple(words)
            fault = ps_query_objects(search, <PyObject *>objects)
            if fault == PS_TERM_NO_TEXT:
                raise wrong_words(words)
            if fault != PS_TERM_FITS:
                raise MemoryError()
        ps_query_end(search, minimum)
        return 0

    cdef object best(self, ps_search *search, scorer, size_t k, mask):
        """The best of the plan that was written, as lists."""
        cdef ps_scorer kernel
        cdef ps_plan_mask outer
        cdef Py_buffer *buffer
        read_scorer(scorer, &kernel)
        if mask is None:
            self.run(search, &kernel, k, NULL)
        else:
            view = viewed(mask)
            buffer = PyMemoryView_GET_BUFFER(view)
            outer.bytes, outer.size = <const uint8_t *>buffer.buf, buffer.len
            self.run(search, &kernel, k, &outer)
        return ps_found_object(search)

    cdef int run(self, ps_search *search, const ps_scorer *scorer, size_t k, const ps_plan_mask *mask) except -1:
        cdef size_t wrong = 0
        cdef uint64_t cost
        cdef ps_status status
        ps_plans_end(search)
        cdef ps_plan plan = ps_only_plan(search)
        cdef bint at_once = ps_enter_try(&self.shared, False)
        if not at_once or ps_masks_are_long(&self.shared, search, mask):
            with nogil:
                if not at_once:
                    ps_enter(&self.shared)
                status = ps_search_top(&self.shared, search, &plan, scorer, k, mask, &wrong)
                ps_leave(&self.shared)
        else:
            status = ps_search_bind(&self.shared, search, &plan, scorer, mask, &wrong, &cost)
            if status == PS_OK and cost > PS_LONG:
                with nogil:
                    status = ps_search_best(&self.shared, search, k)
                    ps_leave(&self.shared)
            else:
                if status == PS_OK:
                    status = ps_search_best(&self.shared, search, k)
                ps_leave(&self.shared)
        if status != PS_OK:
            raise wrong_mask_length(search.live, wrong) if status == PS_REFUSED else failed(status)
        return 0

    cdef int all_scores(
        self, ps_search *search, const ps_scorer *scorer, double **scores, uint8_t **matched
    ) except -1:
        cdef size_t wrong = 0
        cdef ps_status status
        ps_plans_end(search)
        cdef ps_plan plan = ps_only_plan(search)
        with nogil:
            ps_enter(&self.shared)
            status = ps_search_scores(&self.shared, search, &plan, scorer, scores, matched, &wrong)
            ps_leave(&self.shared)
        if status != PS_OK:
            raise wrong_mask_length(search.live, wrong) if status == PS_REFUSED else failed(status)
        return 0

    cdef size_t best_of_chunk(
        self, ps_search *search, queries, uint32_t minimum, const ps_scorer *scorer, size_t k, ids, size_t to,
        int64_t *numbers, double *scores,
    ) except 0:
        """The best for up to CHUNK queries, into the places from `to` on; how many queries."""
        cdef ps_plan_start starts[65]
        cdef uint32_t counts[64]
        cdef size_t n = len(queries), i, start = 0
        cdef ps_status status
        ps_search_clear(search)
        for i in range(n):
            starts[i].node, starts[i].word = search.node_count, search.word_count
            self.read_words(search, queries[i], minimum)
        starts[n].node, starts[n].word = search.node_count, search.word_count
        ps_plans_end(search)
        with nogil:
            ps_enter(&self.shared)
            status = ps_search_many(
                &self.shared, search, starts, n, scorer, k, counts, numbers + to if numbers is not NULL else NULL,
                scores + to,
            )
            ps_leave(&self.shared)
        if status != PS_OK:
            raise failed(status)
        if numbers is NULL:
            for i in range(n):
                ps_fill_ids(search, start, counts[i], <PyObject *>ids, to + i * k)
                start += counts[i]
        return n

    # Terms --------------------------------------------------------------------------------------------------

    def doc_freq(self, field, term, /):
        """How many documents hold a word in a field.

        Raises:
            InvalidType, InvalidValue: there is no such field, or `term` is no str.
        """
        cdef ps_term found
        cdef uint32_t df
        cdef ps_search *memory = self.take()
        try:
            self.read_term(memory, field, term, &found)
            self.enter()
            df = ps_inverted_df(self.shared.index, found)
            ps_leave(&self.shared)
            return df
        finally:
            ps_search_put(&self.shared, memory)

    def words_of(self, field, /):
        """How many words documents have in a field, all together.

        Raises:
            InvalidValue: there is no such field.
        """
        cdef uint32_t number = checked_field(field, self.fields)
        self.enter()
        cdef uint64_t words = self.shared.index.words[number]
        ps_leave(&self.shared)
        return words

    def terms(self, field, prefix, most, /):
        """(m,) (term, documents with it) of the terms of a field that begin with `prefix`, ascending.

        If there are more than `most`, those in most documents, of equal ones the first. O(terms).

        Raises:
            InvalidType, InvalidValue: an argument is not allowed.
        """
        cdef size_t limit = whole(most, checked_most)
        return self.list_terms(field, checked_query_term(prefix), limit, False, 0, 0)

    def near_terms(self, field, term, distance, prefix_length, most, /):
        """(m,) (term, documents with it, distance) of the terms of a field that are like `term`, ascending.

        If there are more than `most`, the nearest, of these those in most documents, of equal ones the first.
        O(terms).

        Args:
            field: its number.
            term: what they are held against.
            distance: how many edits they may be away, 0 to 2: a code point more, less, another, or two
                neighbours swapped.
            prefix_length: code points at the start that must be equal.
            most: how many at the most.

        Raises:
            InvalidType, InvalidValue: an argument is not allowed.
        """
        cdef uint32_t edits = checked_distance(distance)
        cdef size_t limit = whole(most, checked_most)
        cdef uint32_t equal = <uint32_t>whole(prefix_length, checked_prefix_length)
        term = checked_query_term(term)
        if len(term) > PS_TERM_POINTS:
            return []
        return self.list_terms(field, term, limit, True, edits, equal)

    def frequency(self, doc_id, field, term, /):
        """How often a document has a word in a field, and how many words it has there.

        Raises:
            UnknownDocument: there is no such document.
            InvalidType, InvalidValue: there is no such field, or `term` is no str.
        """
        cdef ps_term found
        cdef uint32_t ordinal, placed = 0, freq, length
        cdef const ps_part *part
        cdef ps_search *memory = self.take()
        try:
            ordinal = self.enter_document(memory, doc_id, field, term, &found)
            freq = ps_inverted_freq(self.shared.index, ordinal, found, NULL, 0, &placed)
            part = ps_inverted_part_of(self.shared.index, ordinal)
            length = part.lengths[found.field][ordinal - part.base]
            ps_leave(&self.shared)
            return freq, length
        finally:
            ps_search_put(&self.shared, memory)

    def places(self, doc_id, field, term, /):
        """Where a document has a word in a field, ascending; words are counted from 0.

        Raises:
            UnknownDocument: there is no such document.
            InvalidType, InvalidValue: there is no such field, `term` is no str, or positions are not kept.
        """
        cdef ps_term found
        cdef uint32_t ordinal, placed = 0, freq, i
        cdef uint32_t *places = NULL
        if not self.positions:
            raise no_positions()
        cdef ps_search *memory = self.take()
        try:
            ordinal = self.enter_document(memory, doc_id, field, term, &found)
            freq = ps_inverted_freq(self.shared.index, ordinal, found, NULL, 0, &placed)
            places = <uint32_t *>PyMem_RawMalloc(<size_t>freq * sizeof(uint32_t) + 1)
            if places is not NULL:
                ps_inverted_freq(self.shared.index, ordinal, found, places, freq, &placed)
            ps_leave(&self.shared)
            if places is NULL:
                raise MemoryError()
            return [places[i] for i in range(placed)]
        finally:
            PyMem_RawFree(places)
            ps_search_put(&self.shared, memory)

    def terms_of(self, doc_id, field, /):
        """(m,) (term, frequency) of the different words of a document in a field, ascending.

        Raises:
            UnknownDocument: there is no such document.
            InvalidValue: there is no such field.
        """
        cdef ps_term_list found
        cdef ps_status status
        cdef uint32_t ordinal, number
        memset(&found, 0, sizeof(found))
        found.allocator = PYTHON_MEMORY
        ordinal = self.enter_at(doc_id)
        ps_leave(&self.shared)
        number = checked_field(field, self.fields)
        ordinal = self.enter_at(doc_id)
        try:
            with nogil:
                status = ps_list_terms_of(&self.shared, ordinal, number, &found)
                ps_leave(&self.shared)
            if status != PS_OK:
                raise failed(status)
            return ps_list_of_terms(&found, False)
        finally:
            ps_term_list_free(&found)

    cdef int read_term(self, ps_search *memory, field, term, ps_term *found) except -1:
        """A word that is looked up; its bytes live in `memory`."""
        cdef ps_term_fault fault
        found.field = checked_field(field, self.fields)
        fault = ps_query_term(memory, <PyObject *>term, &found.size)
        if fault == PS_TERM_NO_TEXT:
            raise wrong_word(term)
        if fault != PS_TERM_FITS:
            raise MemoryError()
        found.bytes = memory.text.at + memory.text.size
        return 0

    cdef uint32_t enter_at(self, doc_id) except? 0xFFFFFFFF:
        """Into the index, and the ordinal of a document; not in if there is none."""
        cdef ps_doc_id id
        cdef uint32_t ordinal
        if not find_id(doc_id, &id):
            raise unknown(doc_id)
        self.enter(True)
        ordinal = ps_ordinal_of(&self.shared, id)
        if ordinal == 0xFFFFFFFF:
            ps_leave(&self.shared)
            raise unknown(doc_id)
        return ordinal

    cdef uint32_t enter_document(self, ps_search *memory, doc_id, field, term, ps_term *found) except? 0xFFFFFFFF:
        """Into the index, with a document's ordinal and a word."""
        self.enter_at(doc_id)  # what is not there is told first
        ps_leave(&self.shared)
        self.read_term(memory, field, term, found)
        return self.enter_at(doc_id)

    cdef object list_terms(self, field, text, size_t most, bint near, uint32_t distance, uint32_t prefix):
        cdef ps_term_list found
        cdef ps_near near_to
        cdef ps_term term
        cdef ps_status status
        cdef ps_search *memory = self.take()
        memset(&found, 0, sizeof(found))
        found.allocator, found.most = PYTHON_MEMORY, most
        try:
            self.read_term(memory, field, text, &term)
            if near:
                ps_near_points(&near_to, <PyObject *>text, distance, prefix)
                term.size = 0  # they may begin with anything
            with nogil:
                ps_enter(&self.shared)
                status = ps_list_terms(
                    &self.shared, term.field, term.bytes, term.size, &near_to if near else NULL, &found
                )
                ps_leave(&self.shared)
            if status != PS_OK:
                raise failed(status)
            return ps_list_of_terms(&found, near)
        finally:
            ps_term_list_free(&found)
            ps_search_put(&self.shared, memory)

    # The whole ----------------------------------------------------------------------------------------------

    def compact(self):
        """Gives back the memory of deleted documents, and packs the others as densely as can be. O(n)."""
        self.pack_parts(False)

    def freeze(self):
        """Compacts, and refuses changes from then on."""
        self.pack_parts(True)

    @property
    def frozen(self):
        """Whether changes are refused."""
        self.enter()
        cdef bint frozen = self.shared.index.frozen
        ps_leave(&self.shared)
        return frozen

    def pack(self):
        """The documents as one segment (csrc/search_segment.h), the same for both twins to read. O(n)."""
        cdef uint8_t *bytes = NULL
        cdef size_t size = 0
        cdef ps_status status
        with nogil:
            status = ps_pack_segment(&self.shared, &bytes, &size)
        if status != PS_OK:
            raise failed(status)
        try:
            return PyBytes_FromStringAndSize(<const char *>bytes, size)
        finally:
            PyMem_RawFree(bytes)

    def map(self, segment, /):
        """Takes the documents of a segment into an index that had none so far.

        Args:
            segment: bytes that `pack` of either twin has made; they must not change while the index lives.

        Raises:
            IndexFileError: it is broken, or has other fields, columns or positions.
            FrozenIndexError: the index is frozen.
            InvalidValue: the index had documents.
        """
        cdef ps_loan *loan = <ps_loan *>PyMem_RawMalloc(sizeof(ps_loan))
        if loan is NULL:
            raise MemoryError()
        try:
            PyObject_GetBuffer(memoryview(segment).cast("B"), &loan.view, PyBUF_SIMPLE)
        except BaseException:
            PyMem_RawFree(loan)
            raise
        loan.shared = &self.shared
        self.map_loan(loan)

    def memory(self):
        """Bytes that the index takes, by part. O(terms)."""
        cdef ps_inverted_sizes sizes
        self.measure(&sizes)
        return {
            "segments": sizes.segment_bytes,
            "mapped": sizes.mapped_bytes,
            "tail": sizes.tail_bytes,
            "ids": sizes.id_bytes,
            "other": sizes.other + sizeof(ps_shared_index),
        }

    def statistics(self):
        """Counts of what is in the index: documents, dead documents, segments, terms, postings."""
        cdef ps_inverted_sizes sizes
        cdef uint32_t live = self.measure(&sizes)
        return {
            "documents": live,
            "dead": sizes.dead_docs,
            "segments": sizes.segments,
            "terms": sizes.terms,
            "postings": sizes.postings,
        }

    cdef int pack_parts(self, bint freeze) except -1:
        cdef ps_outcome outcome
        with nogil:
            outcome = ps_compact(&self.shared, freeze)
        self.settle()
        if outcome != PS_DONE:
            raise refused(outcome, None)
        return 0

    cdef uint32_t measure(self, ps_inverted_sizes *sizes) except? 0xFFFFFFFF:
        """Fills in the sizes; returns how many documents there are."""
        cdef uint32_t live
        with nogil:
            ps_enter(&self.shared)
            live = self.shared.index.live
            ps_inverted_measure(self.shared.index, sizes)
            ps_leave(&self.shared)
        return live

    cdef int map_loan(self, ps_loan *loan) except -1:
        """Takes the documents of a segment; bytes that may change, or lie askew, are copied."""
        cdef ps_status status = PS_OK
        cdef const uint8_t *bytes = <const uint8_t *>loan.view.buf
        cdef size_t size = loan.view.len
        cdef uint8_t *copy = NULL
        cdef uint32_t documents = 0, live = 0
        cdef bint frozen = False
        cdef bint copied = not loan.view.readonly or <size_t>bytes % 8 != 0
        with nogil:
            ps_change_wait(&self.shared)
            frozen = self.shared.index.frozen
            documents, live = ps_inverted_ordinals(self.shared.index), self.shared.index.live
            if not frozen and documents == 0:
                if copied:
                    copy = <uint8_t *>PyMem_RawMalloc(size + 1)
                    if copy is NULL:
                        status = PS_NO_MEMORY
                    else:
                        memcpy(copy, bytes, size)
                        status = ps_map_segment(&self.shared, copy, size, NULL)
                else:
                    status = ps_map_segment(&self.shared, bytes, size, loan)
            if ps_change_end(&self.shared):
                ps_merge_parts(&self.shared)
        if status == PS_OK and not copied and not frozen and documents == 0:
            self.settle()
            return 0
        PyBuffer_Release(&loan.view)
        PyMem_RawFree(loan)
        if status != PS_OK:
            PyMem_RawFree(copy)
        if frozen:
            raise frozen_index()
        if documents > 0:
            raise not_empty(live)
        if status != PS_OK:
            raise other_segment() if status == PS_REFUSED else failed(status)
        return 0
