"""Syslog as it comes, made into records, compiled: the twin of _syslog_lines_py.py over csrc/syslog_lines.c."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from penstock.services.distributor.inputs._syslog_lines_py import checked_date, checked_most

__all__ = ["SyslogLines"]

cdef extern from "syslog_lines.h":
    ctypedef struct ps_syslog:
        size_t most_frame
        int year
        int month
        int offset
        size_t at
        size_t wanted
        size_t left
        bint first
        uint64_t continued
    ctypedef struct ps_syslog_record:
        size_t size
    void ps_syslog_init(ps_syslog *lines, size_t most_text, size_t most_record)
    void ps_syslog_begin(ps_syslog *lines, const uint8_t *data, size_t size, bint cut)
    bint ps_syslog_next(ps_syslog *lines, ps_syslog_record *record)
    void ps_syslog_begin_datagram(ps_syslog *lines, const uint8_t *data, size_t size)
    bint ps_syslog_next_part(ps_syslog *lines, ps_syslog_record *record)
    void ps_syslog_write(const ps_syslog_record *record, uint8_t *to)


@cython.final
cdef class SyslogLines:
    """SyslogLines(most_text, most_record, /)\n--\n
    Makes records of what comes by syslog, by RFC 5424, by RFC 3164 and by neither.

    A record is the compact JSON of a message: the text, the level and, as metadata, the facility, all by
    the priority; the time; the name of the application as source; host, process, message id and
    structured data as metadata. Whatever of this cannot be read stays in the text, up to the whole of it:
    nothing that comes is thrown away. Bytes that are no UTF-8 become U+FFFD. Times by RFC 3164
    have no year and no zone: they get the latest year in which they are not two months ahead, and the zone
    of `set_date`.

    In a stream a frame is counted (`LENGTH SP MESSAGE`) or ended by a line feed or a NUL, told apart for
    each one. A frame or text that is too long comes out as several records, of which the others have all
    that the first has but for the text.

    No thread may use one while another does.

    Source: RFC 5424; RFC 3164; RFC 6587, 3.4.

    Args:
        most_text: bytes of the longest text, in UTF-8, 1 to 2^30.
        most_record: bytes of the longest record, 1 to 2^30; less than 64 KiB make longer ones all the same.

    Raises:
        ValueError: one of them is out of range.
    """

    cdef ps_syslog lines

    def __cinit__(self, *_args):
        ps_syslog_init(&self.lines, 1, 1)  # what one has that nobody initialises

    def __init__(self, most_text, most_record, /):
        cdef size_t text = checked_most("most_text", most_text)
        ps_syslog_init(&self.lines, text, checked_most("most_record", most_record))

    @property
    def wanted(self):
        """Bytes that the next reading must be given, together with those left over, to get any further.

        0: as many as there are until a line feed or a NUL, or more than `most_frame`.
        """
        return self.lines.wanted

    @property
    def most_frame(self):
        """Bytes of the longest frame that comes out as one, if its text is not too long."""
        return self.lines.most_frame

    @property
    def continued(self):
        """Records so far that continue the one before."""
        return self.lines.continued

    def set_date(self, year, month, offset, /):
        """Tells what day it is, for times by RFC 3164.

        Args:
            year: 1 to 9998.
            month: 1 to 12.
            offset: minutes by which the senders' clocks are ahead of UTC, less than a day.

        Raises:
            ValueError: one of them is out of range.
        """
        self.lines.year, self.lines.month, self.lines.offset = checked_date(year, month, offset)

    def read(self, bytes data not None, bint cut=False, /):
        """Takes a stream apart.

        Args:
            data: what the last reading left over, then what came since.
            cut: whether what is there of an unfinished frame comes out now; the rest then continues it.

        Returns:
            Records, in the order of the frames, and how many bytes of `data` are done with.
        """
        cdef ps_syslog_record record
        cdef list records = []
        ps_syslog_begin(&self.lines, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), cut)
        while ps_syslog_next(&self.lines, &record):
            records.append(written(&record))
        return records, self.lines.at

    def datagram(self, bytes data not None, /):
        """The record of a datagram, or the several that it takes; none of one that is empty.

        Not for an object that reads a stream as well.
        """
        cdef ps_syslog_record record
        cdef list records = []
        ps_syslog_begin_datagram(&self.lines, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        while ps_syslog_next_part(&self.lines, &record):
            records.append(written(&record))
        return records


cdef inline bytes written(const ps_syslog_record *record):
    made = PyBytes_FromStringAndSize(NULL, record.size)
    ps_syslog_write(record, <uint8_t *>PyBytes_AS_STRING(made))
    return made
