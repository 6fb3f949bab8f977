"""HTTP/1.1 response parser, compiled: the twin of _response_parser_py.py over csrc/http_response.c."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdint cimport uint8_t

from penstock.probing._response_parser_py import checked_bounds, early_end, not_bytes, refusal

__all__ = ["ResponseParser"]

cdef extern from "http_response.h" nogil:
    void ps_http_init(ps_http *answer, ps_http_limits limits, ps_allocator allocator)
    void ps_http_free(ps_http *answer)
    void ps_http_reset(ps_http *answer, bint head_request)
    ps_status ps_http_feed(ps_http *answer, const uint8_t *bytes, size_t size, size_t *consumed)
    ps_status ps_http_eof(ps_http *answer)

cdef ps_allocator PYTHON_MEMORY = ps_allocator(PyMem_RawRealloc, PyMem_RawFree)  # seen by tracemalloc


cdef class ResponseParser:
    """ResponseParser(*, max_head=65536, keep_body=0, max_body=1048576)\n--\n
    One HTTP/1.1 answer after the other, taken as they arrive in pieces of any size.

    Strict where a mistake changes where the answer ends, and bounded: csrc/http_response.h has the rules.
    Answers 1xx are skipped. Nothing is decompressed; the framing of chunks is taken off.

    Args:
        max_head: bytes that a head may have, 64 to 2**24; chunk extensions and trailers may have as many.
        keep_body: bytes of a body that are kept, the first ones.
        max_body: bytes of a body that are read; then the answer is done, and `truncated`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no int.

    Source: RFC 9112; RFC 9110, sections 5.5, 5.6, 8.6 and 15.
    """

    def __cinit__(self):
        ps_http_init(&self.answer, ps_http_limits(65_536, 1 << 20, 0), PYTHON_MEMORY)

    def __dealloc__(self):
        ps_http_free(&self.answer)

    def __init__(self, *, max_head=65_536, keep_body=0, max_body=1 << 20):
        cdef ps_http_limits limits
        limits.max_head, limits.keep_body, limits.max_body = checked_bounds(max_head, keep_body, max_body)
        with cython.critical_section(self):
            self.answer.limits = limits
            ps_http_reset(&self.answer, False)

    @property
    def head_done(self):
        """Whether status, reason and head are those of the final answer."""
        return ps_http_head_done(&self.answer)

    @property
    def done(self):
        """Whether the answer is whole, or `truncated`."""
        return ps_http_done(&self.answer)

    @property
    def begun(self):
        """Whether any byte has arrived."""
        return self.answer.begun

    @property
    def status(self):
        """Of the answer; 0 until its status line has arrived."""
        return self.answer.status

    @property
    def reason(self):
        """What the server says beside the status, often nothing; Latin-1."""
        if self.answer.reason_size == 0:
            return ""
        cdef const char *bytes = <const char *>self.answer.head.bytes + self.answer.reason_at
        return PyUnicode_DecodeLatin1(bytes, <Py_ssize_t>self.answer.reason_size, NULL)

    @property
    def head(self):
        """Status line and headers, the empty line included; empty until the head is done.

        They are as they came, but each line ends with CR LF, also where the server sent LF alone.
        """
        return PyBytes_FromStringAndSize(<char *>self.answer.head.bytes, <Py_ssize_t>self.answer.head_size)

    @property
    def size(self):
        """Bytes of the body that were read, the framing of chunks not counted."""
        return self.answer.size

    @property
    def body(self):
        """The first `keep_body` bytes of the body."""
        return PyBytes_FromStringAndSize(<char *>self.answer.body.bytes, <Py_ssize_t>self.answer.body.size)

    @property
    def keep_alive(self):
        """Whether the connection can be used again; False until the answer is done."""
        return self.answer.keep_alive

    @property
    def truncated(self):
        """Whether the body is longer than `max_body`; the rest was not read."""
        return self.answer.truncated

    def reset(self, head_request=False):
        """Forgets the answer and makes ready for another.

        Args:
            head_request: whether HEAD was asked for: then the answer has no body, whatever it says.
        """
        cdef bint head = head_request
        with cython.critical_section(self):
            ps_http_reset(&self.answer, head)

    def feed(self, data, /):
        """Takes bytes of the answer, up to its end.

        What lies behind the end is not the answer's: when nothing else was asked for on that connection, it
        had better not be used again.

        Returns:
            How many bytes it took: all, unless the answer is done.

        Raises:
            BadResponse: the answer breaks a rule; only `reset` helps.
            TypeError: data is not bytes-like, or not contiguous.
        """
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            with cython.critical_section(self):
                return self.take(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except (TypeError, BufferError):
            raise not_bytes(data) from None
        try:
            with cython.critical_section(self):
                return self.take(<const uint8_t *>view.buf, <size_t>view.len)
        finally:
            PyBuffer_Release(&view)

    def eof(self):
        """Tells that the connection has ended, which ends an answer that has no other end.

        Raises:
            IncompleteResponse: the answer is not whole; what has arrived can still be read.
            BadResponse: it broke a rule before.
        """
        with cython.critical_section(self):
            if ps_http_eof(&self.answer) != PS_OK:
                raise self.failure()

    cdef Py_ssize_t take(self, const uint8_t *bytes, size_t size) except -1:
        cdef size_t consumed
        cdef ps_status status = ps_http_feed(&self.answer, bytes, size, &consumed)
        if status == PS_REFUSED:
            raise self.failure()
        if status != PS_OK:
            raise MemoryError
        return <Py_ssize_t>consumed

    cdef object failure(self):
        cdef const ps_http *answer = &self.answer
        if answer.problem == PS_HTTP_EARLY_END:
            return early_end(ps_http_head_done(answer), answer.size, answer.begun)
        if answer.problem == PS_HTTP_BAD_CHUNK:
            return refusal(answer.problem, bytes((answer.culprit,)), answer.limits.max_head)
        cdef bytes line = (<char *>answer.head.bytes)[answer.line_at:answer.head.size]
        return refusal(answer.problem, line, answer.limits.max_head)
