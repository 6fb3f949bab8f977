"""Turns a line of any text log into a message, with the level, source and time that the line states.

The line itself stays the message, unchanged: what is recognised in it stands beside it. Only JSON
lines are taken apart: their text becomes the message and the other fields its metadata.

What is not sure is left out. A time becomes a timestamp only if its year and its zone are known, so
`Jun 14 15:16:01` (no year) and `17/06/09` (which is the year?) never do, and `2016-12-19 16:31:47`
only with the zone that the caller knows. A line without a level gets UNKNOWN.

Every pattern takes time linear in the line: no two neighbouring repetitions can match the same text.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

import msgspec

__all__ = ["MAX_MESSAGE_BYTES", "UNKNOWN", "Message", "parse", "split"]

MAX_MESSAGE_BYTES = 10_000
"""Bytes of UTF-8 that the distributor takes as one message."""

MAX_SOURCE_BYTES = 256
MAX_JSON_LINE = 64 << 10  # characters; a longer line is sent as text, as its metadata could not be split
MAX_JSON_DEPTH = 32
UNKNOWN = "UNKNOWN"

LEVELS = {
    "TRACE": "TRACE", "VERBOSE": "TRACE", "FINEST": "TRACE", "FINER": "TRACE", "V": "TRACE",
    "DEBUG": "DEBUG", "FINE": "DEBUG", "CONFIG": "DEBUG", "DBG": "DEBUG", "D": "DEBUG",
    "INFO": "INFO", "INFORMATION": "INFO", "INFORMATIONAL": "INFO", "LOG": "INFO", "I": "INFO",
    "NOTICE": "NOTICE", "NOTE": "NOTICE",
    "WARN": "WARN", "WARNING": "WARN", "W": "WARN",
    "ERROR": "ERROR", "ERR": "ERROR", "SEVERE": "ERROR", "FAILURE": "ERROR", "E": "ERROR",
    "CRITICAL": "CRITICAL", "CRIT": "CRITICAL",
    "ALERT": "ALERT",
    "EMERGENCY": "EMERGENCY", "EMERG": "EMERGENCY", "PANIC": "EMERGENCY",
    "FATAL": "FATAL", "F": "FATAL",
}  # fmt: skip
"""Level as written, in capitals -> the name it is sent with."""

SYSLOG_LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARN", "NOTICE", "INFO", "DEBUG")
"""By severity (RFC 5424, 6.2.1)."""

WINDOWS_LEVELS = ("INFO", "CRITICAL", "ERROR", "WARN", "INFO", "TRACE")
"""By the level of a Windows event, which has an EventID; 0 is LogAlways, 5 Verbose."""

NUMBERED_LEVELS = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
"""Levels of bunyan and pino; smaller numbers mean different things to different programs."""

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
"""By number (RFC 5424, 6.2.1)."""


class Message(msgspec.Struct, omit_defaults=True):
    """One message of a packet, with the names that the distributor's API gives its fields."""

    level: str
    message: str
    source: str
    timestamp: str | None = None
    metadata: dict[str, Any] | None = None


# ---- times ----------------------------------------------------------------------------------------

MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
MONTH = "(?:" + "|".join(MONTH_NAMES) + ")"
CLOCK = r"\d\d:\d\d:\d\d"
NOT_ELSEWHERE = r"(?! ?[AP]M\b| (?!GET|PUT|POST|NOT)[A-Z]{1,3}[DS]?T\b)"  # neither afternoon nor CEST
ISO = (
    rf"(?P<time>\d{{4}}-\d\d-\d\d[T ]{CLOCK}(?:[.,:]\d{{1,9}}(?!\d))?"
    rf"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\b|{NOT_ELSEWHERE}))"
)

ISO_PARTS = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))? ?"
    r"(?:([Zz]|UTC|GMT)|([+-]\d\d):?(\d\d))?",
    re.ASCII,
)
CLF_PARTS = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d\d)(\d\d)", re.ASCII)
APACHE_PARTS = re.compile(r"\w{3} (\w{3}) (\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? (\d{4})", re.ASCII)

EPOCH_UNITS = (10**9, 10**12, 10**15, 10**18)
"""September 2001 in seconds, milli-, micro- and nanoseconds; four times as much is 2096, so none overlap."""


def rfc3339(
    year: int, month: int, day: int, clock: tuple[int, int, int], fraction: str, offset: tzinfo | None
) -> str | None:
    """The instant as RFC 3339 text, or None when it does not exist or is not one instant."""
    if offset is None or not 1980 <= year < 2200:
        return None
    try:
        when = datetime(year, month, day, *clock, tzinfo=offset)
    except ValueError:  # 31 February, 25:00, or a leap second
        return None
    seconds = when.utcoffset()
    if seconds is None or seconds != when.replace(fold=1).utcoffset():
        return None  # the hour in which the clocks change: two instants, or none
    text = when.replace(tzinfo=None).isoformat() + (f".{fraction}" if fraction else "")
    return text + offset_text(seconds)


def offset_text(offset: timedelta) -> str:
    if not offset:
        return "Z"
    minutes = offset // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def stated_offset(hours: str, minutes: str) -> tzinfo | None:
    """The zone +HH:MM; None for one that no place has, as then it is something else."""
    if not -12 <= int(hours) <= 14 or minutes not in ("00", "15", "30", "45"):
        return None
    sign = -1 if hours.startswith("-") else 1
    return timezone(sign * timedelta(hours=abs(int(hours)), minutes=int(minutes)))


def iso_time(text: str, zone: tzinfo | None) -> str | None:
    parts = ISO_PARTS.fullmatch(text)
    if not parts:
        return None
    year, month, day, hour, minute, second, fraction, utc, hours, minutes = parts.groups()
    offset = UTC if utc else stated_offset(hours, minutes) if hours else zone
    return rfc3339(int(year), int(month), int(day), (int(hour), int(minute), int(second)), fraction, offset)


def clf_time(text: str, zone: tzinfo | None) -> str | None:
    parts = CLF_PARTS.fullmatch(text)
    if not parts or parts[2] not in MONTHS:
        return None
    clock = (int(parts[4]), int(parts[5]), int(parts[6]))
    return rfc3339(
        int(parts[3]), MONTHS[parts[2]], int(parts[1]), clock, "", stated_offset(parts[7], parts[8])
    )


def apache_time(text: str, zone: tzinfo | None) -> str | None:
    parts = APACHE_PARTS.fullmatch(text)
    if not parts or parts[1] not in MONTHS:
        return None
    clock = (int(parts[3]), int(parts[4]), int(parts[5]))
    return rfc3339(int(parts[7]), MONTHS[parts[1]], int(parts[2]), clock, parts[6], zone)


def epoch_time(number: str, zone: tzinfo | None) -> str | None:
    """The instant of a count since 1970 in seconds, milli-, micro- or nanoseconds."""
    whole, _, fraction = number.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) < 20):
        return None
    for earliest in EPOCH_UNITS:
        if earliest <= int(whole) < 4 * earliest:
            seconds, digits = whole[:10], (whole[10:] + fraction)[:9]
            when = datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None)
            return when.isoformat() + (f".{digits}" if digits.isdigit() else "") + "Z"
    return None


# ---- text lines -----------------------------------------------------------------------------------

WORD = (
    r"(?:TRACE|VERBOSE|FINEST|FINER|FINE|DEBUG|CONFIG|INFO|NOTICE|NOTE|WARN|WARNING|ERROR|ERR|SEVERE"
    r"|CRITICAL|CRIT|ALERT|EMERGENCY|EMERG|PANIC|FATAL"
    r"|[Tt]race|[Dd]ebug|[Ii]nfo|[Nn]otice|Note|[Ww]arn|[Ww]arning|[Ee]rror|err|[Cc]ritical|crit|[Ff]atal)\b"
)
CAPITALS = WORD.partition("|[Tt]")[0] + r")\b"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
ANY = ""


class Format(NamedTuple):
    """How one kind of log line begins.

    Its groups: `time` is read by `read_time`; `level`, `pri` or `status` give the level, `source` the
    source; every other group goes into the metadata under its name.
    """

    name: str
    first: str  # characters that a line can start with; ANY for all
    pattern: re.Pattern[str]
    read_time: Callable[[str, tzinfo | None], str | None]


def line_format(
    name: str, first: str, pattern: str, read_time: Callable[[str, tzinfo | None], str | None] = iso_time
) -> Format:
    return Format(name, first, re.compile(pattern, re.ASCII), read_time)


# The first that matches is taken. `++` and `{..}+` never give back, which keeps a failing match linear.
FORMATS = (
    line_format(  # <34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - 'su root' failed
        "RFC 5424 syslog",
        "<",
        r"<(?P<pri>\d{1,3})>1 (?P<time>\S++) (?P<host>\S++) (?P<source>\S++) (?P<pid>\S++) (?P<msgid>\S++) ",
    ),
    line_format(  # <38>Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure
        "RFC 3164 syslog",
        "<JFMASOND",
        rf"(?:<(?P<pri>\d{{1,3}})>)?{MONTH} [ \d]\d {CLOCK}(?:\.\d+)? (?P<host>\S++) "
        r"(?P<source>[^\s:\[]++)(?: [\d.]++)?(?:\[(?P<pid>\d++)\])?:",
    ),
    line_format("syslog with a priority", "<", r"<(?P<pri>\d{1,3})>"),
    line_format(  # [Thu Jun 09 06:07:04 2005] [notice] LDAP: Built with OpenLDAP
        "Apache error",
        "[",
        rf"\[(?P<time>[A-Z][a-z]{{2}} {MONTH} \d\d {CLOCK}(?:\.\d{{1,6}})? \d{{4}})\] "
        r"\[(?:(?P<source>\w++):)?(?P<level>[a-z]++)\d?\](?: \[pid (?P<pid>\d++))?",
        apache_time,
    ),
    line_format(  # [2016-12-19 16:31:47,437] INFO [Controller 0]: text (kafka.controller.KafkaController)
        "log4j with its logger at the end",
        "[",
        rf"\[{ISO}\] (?P<level>{WORD}) .*\((?P<source>[\w.$]++)\)\s*+$",
    ),
    line_format(  # 2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.MRAppMaster: text
        "log4j with thread and logger",
        DIGITS,
        rf"{ISO} (?P<level>{WORD}) +\[(?P<thread>[^\]]*+)\] (?P<source>[\w.$]++) *:",
    ),
    line_format(  # 2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]:FastLeaderElection@774] - text
        "ZooKeeper",
        DIGITS,
        rf"{ISO} - (?P<level>{WORD}) +\[(?P<thread>.*?):(?P<source>[\w$]++)@\d++\] - ",
    ),
    line_format(  # 2003-07-08 16:49:45,896 - auth.user - ERROR - text
        "Python logging", DIGITS, rf"{ISO} - (?P<source>[\w.]++) - (?P<level>{WORD})"
    ),
    line_format(  # nova-api.log 2017-05-16 00:00:00.008 25746 INFO nova.osapi_compute.wsgi.server text
        "OpenStack",
        LETTERS + DIGITS,
        rf"(?:(?P<file>[\w.:-]++) )?{ISO} (?P<pid>\d++) (?P<level>{WORD}) (?P<source>[\w.]++) ",
    ),
    line_format(  # 2025-08-13 01:45:01.123 PDT [12345] LOG:  starting (PDT is not one zone the world over)
        "PostgreSQL",
        DIGITS,
        rf"\d{{4}}-\d\d-\d\d {CLOCK}(?:\.\d+)? (?P<zone>[A-Z]{{2,5}}) \[(?P<pid>\d++)\] "
        rf"(?:[^:]{{1,100}}+@\S++ )?(?P<level>LOG|{CAPITALS}):",
    ),
    line_format(  # 2012-07-02 10:22:40,672:DEBUG:text    2020-08-06T14:25:02.835618Z 0 [Note] text
        "time and level",
        "[" + DIGITS,
        rf"\[?{ISO}\]?(?: \d++)?[\s:|,-]*+\[?(?P<level>{WORD})",
    ),
    line_format(  # 2022-08-27T17:22:01.694554+03:00 space01 CRON[20856]: text
        "syslog with ISO time",
        DIGITS,
        rf"{ISO} (?P<host>[\w.-]++) (?P<source>[\w./-]++)(?:\[(?P<pid>\d++)\])?:",
    ),
    line_format("time", "[\"'" + DIGITS, rf"[\[\"']?{ISO}"),
    line_format(  # 17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: text
        "Spark",
        DIGITS,
        rf"\d\d/\d\d/\d\d {CLOCK} (?P<level>{WORD}) (?P<source>[\w.$]++):",
    ),
    line_format(  # 081109 203615 148 INFO dfs.DataNode$PacketResponder: text
        "HDFS", DIGITS, rf"\d{{6}} \d{{6}} (?P<pid>\d++) (?P<level>{WORD}) (?P<source>[\w.$]++):"
    ),
    line_format(  # 03-17 16:13:38.811  1702  2395 D WindowManager: text
        "Android",
        DIGITS,
        rf"\d\d-\d\d {CLOCK}\.\d{{3}} +(?P<pid>\d++) +(?P<tid>\d++) (?P<level>[VDIWEF]) "
        r"(?P<source>[^:]{1,128}+):",
    ),
    line_format(  # I0424 22:09:20.854321    1234 queue_sender.cc:128] text
        "glog",
        "IWEF",
        rf"(?P<level>[IWEF])\d{{4}} {CLOCK}\.\d{{6}} +(?P<pid>\d++) (?P<source>[^\s:\]]++:\d++)\]",
    ),
    line_format(  # - 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO text
        "Blue Gene/L",
        ANY,
        r"(?P<alert>\S++) (?P<time>\d{9,10}) \d{4}\.\d\d\.\d\d (?P<host>\S++) \S++ \S++ (?P<type>\S++) "
        rf"(?P<source>\S++) (?P<level>{CAPITALS}|FAILURE)\b",
        epoch_time,
    ),
    line_format(  # 83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 203023 ...
        "access log",
        ANY,
        rf"(?P<client>\S++) (?:\S++ ){{2,4}}?\[(?P<time>\d\d/{MONTH}/\d{{4}}:{CLOCK} [+-]\d{{4}})\] "
        r'"(?:[^"\\]|\\.)*+" (?P<status>\d{3}) ',
        clf_time,
    ),
    line_format(  # time="2021-09-15T21:17:10.220731Z" level=error msg="error retrieving pod status"
        "logfmt",
        LETTERS,
        rf'(?=[\w.]++=)(?=(?:.*?\s)?level="?(?P<level>{WORD}))'
        rf'(?:(?=(?:.*?\s)?(?:time|ts|t)="?{ISO})|)'
        r'(?:(?=(?:.*?\s)?(?:logger|component|service)="?(?P<source>[^"\s]++))|)',
    ),
    line_format("level", "[" + LETTERS, rf"\[?(?P<level>{CAPITALS})(?:\]|:|\s|$)"),  # WARNING: text
)

BY_FIRST_CHARACTER = {
    character: tuple(known for known in FORMATS if not known.first or character in known.first)
    for character in map(chr, range(128))
}
BY_OTHER_CHARACTER = tuple(known for known in FORMATS if not known.first)


def parse(line: str, source: str, zone: tzinfo | None = None) -> Message:
    """The message of a line.

    Args:
        line: without its line end; not empty.
        source: used when the line names none, for example the name of the file.
        zone: of times that name no zone; None when it is not known, they are then left out.
    """
    line = line.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return (line.startswith("{") and json_message(line, source, zone)) or text_message(line, source, zone)


def text_message(line: str, source: str, zone: tzinfo | None) -> Message:
    for known in BY_FIRST_CHARACTER.get(line[0], BY_OTHER_CHARACTER):
        if found := known.pattern.match(line):
            return recognised(line, found.groupdict(), known, source, zone)
    return Message(UNKNOWN, line, bounded(source))


def recognised(
    line: str, groups: dict[str, str | None], known: Format, source: str, zone: tzinfo | None
) -> Message:
    fields = {name: text for name, text in groups.items() if text and text != "-"}  # "-" is nil
    level = UNKNOWN
    if word := fields.pop("level", None):
        level = LEVELS.get(word.upper(), UNKNOWN)
    elif priority := fields.pop("pri", None):
        level = priority_level(int(priority), fields)
    elif "status" in fields:
        level = status_level(fields["status"])
    time = fields.pop("time", None)
    stated = fields.pop("source", "").strip()
    return Message(
        level, line, bounded(stated or source), known.read_time(time, zone) if time else None, fields or None
    )


def priority_level(priority: int, fields: dict[str, str]) -> str:
    if priority >= len(FACILITIES) * 8:
        return UNKNOWN
    fields["facility"] = FACILITIES[priority // 8]
    return SYSLOG_LEVELS[priority % 8]


def status_level(status: str) -> str:
    """What an HTTP status says about the request: the server's fault, the client's, or none."""
    return "ERROR" if status >= "500" else "WARN" if status >= "400" else "INFO"


# ---- JSON lines -----------------------------------------------------------------------------------

MESSAGE_FIELDS = ("message", "msg", "@message", "Message", "MESSAGE", "log", "body", "fields.message")
LEVEL_FIELDS = ("level", "severity", "log.level", "lvl", "levelname", "loglevel", "severity_text",
                "s", "PRIORITY")  # fmt: skip
TIME_FIELDS = ("timestamp", "@timestamp", "time", "ts", "t", "asctime", "datetime", "date", "TimeCreated",
               "t.$date", "__REALTIME_TIMESTAMP")  # fmt: skip
SOURCE_FIELDS = ("logger", "source", "log.logger", "logger_name", "service", "service.name", "component",
                 "target", "SourceName", "_COMM", "host", "hostname", "Hostname", "host.name")  # fmt: skip

decode_json = msgspec.json.Decoder(dict[str, Any]).decode


def json_message(line: str, source: str, zone: tzinfo | None) -> Message | None:
    """The message of a JSON object, or None when the line is none that can be sent on as one."""
    if len(line) > MAX_JSON_LINE:
        return None
    try:
        record = decode_json(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not shallow(record, line):
        return None
    stated_source = take(record, SOURCE_FIELDS, source_of)
    timestamp = take(record, TIME_FIELDS, lambda name, value: json_time(value, zone))
    level = take(record, LEVEL_FIELDS, json_level) or windows_level(record)
    text = take(record, MESSAGE_FIELDS, lambda name, value: value if isinstance(value, str) else None)
    text = text and text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not text:  # nothing is called a message: the line is one
        return Message(level or UNKNOWN, line, bounded(stated_source or source), timestamp)
    return Message(level or UNKNOWN, text, bounded(stated_source or source), timestamp, record or None)


def take(
    record: dict[str, Any], names: tuple[str, ...], read: Callable[[str, Any], str | None]
) -> str | None:
    """What `read` makes of the first field that it understands, which leaves the record."""
    for name in names:
        if name in record:
            value = read(name, record[name])
            if value is not None:
                del record[name]
                return value
        elif "." in name:
            outer, _, inner = name.partition(".")
            within = record.get(outer)
            if isinstance(within, dict) and (value := read(inner, within.get(inner))) is not None:
                return value
    return None


def source_of(name: str, value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MAX_SOURCE_BYTES else None


def json_level(name: str, value: object) -> str | None:
    if name == "PRIORITY":  # journald: syslog severities, as text
        return SYSLOG_LEVELS[int(value)] if isinstance(value, str) and value in set("01234567") else None
    if isinstance(value, str):
        return LEVELS.get(value.upper().rstrip("0123456789"))  # DEBUG2 is a DEBUG
    return NUMBERED_LEVELS.get(value) if isinstance(value, int) else None


def windows_level(record: dict[str, Any]) -> str | None:
    number = record.get("Level")
    if "EventID" not in record or not isinstance(number, (int, str)) or str(number) not in set("012345"):
        return None
    return WINDOWS_LEVELS[int(number)]


def json_time(value: object, zone: tzinfo | None) -> str | None:
    if isinstance(value, str):
        return iso_time(value, zone) or epoch_time(value, zone)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return epoch_time(repr(value), zone)
    return None


def shallow(record: dict[str, Any], line: str) -> bool:
    """Whether no value lies deeper than MAX_JSON_DEPTH, where a receiver's decoder might give up."""
    if line.count("{") + line.count("[") <= MAX_JSON_DEPTH:
        return True
    level: list[Any] = [record]
    for _ in range(MAX_JSON_DEPTH):
        level = [inner for value in level for inner in children(value)]
        if not level:
            return True
    return False


def children(value: object) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in inner if isinstance(item, (dict, list)))


# ---- sizes ----------------------------------------------------------------------------------------


def split(message: Message) -> list[Message]:
    """The message, or several whose texts joined are its text, if that is over MAX_MESSAGE_BYTES.

    Each part says which it is in its metadata, `{"part": 1, "parts": 3}`; only the first also carries
    the metadata of the whole.
    """
    texts = cut(message.message, MAX_MESSAGE_BYTES)
    if len(texts) == 1:
        return [message]
    return [
        msgspec.structs.replace(
            message,
            message=text,
            metadata={**((number == 1 and message.metadata) or {}), "part": number, "parts": len(texts)},
        )
        for number, text in enumerate(texts, start=1)
    ]


def cut(text: str, limit: int) -> list[str]:
    """Pieces of at most `limit` bytes of UTF-8, cut between characters."""
    if len(text) * 4 <= limit or (len(text) <= limit and text.isascii()):
        return [text]
    data = text.encode()
    pieces = []
    start = 0
    while start < len(data):
        end = start + limit
        while end < len(data) and data[end] & 0b1100_0000 == 0b1000_0000:  # inside a character
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def bounded(source: str) -> str:
    return cut(source, MAX_SOURCE_BYTES)[0]
