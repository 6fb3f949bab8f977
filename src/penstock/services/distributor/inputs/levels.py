"""Levels that foreign protocols count, in words. Words are left as they come: `warn` stays `warn`."""

__all__ = ["LONGEST_LEVEL", "LONGEST_SOURCE", "NUMBERED", "OTLP_LEVELS", "SYSLOG_LEVELS", "level_of_number"]

LONGEST_LEVEL = 32
"""Characters of a message's level, at the most,"""
LONGEST_SOURCE = 256
"""and of its source."""

SYSLOG_LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""By severity, RFC 5424, 6.2.1."""

OTLP_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
"""By severity number, four of them each: 1 to 4 are TRACE. As the data model of OpenTelemetry shows them."""

NUMBERED = {10: "TRACE", 20: "DEBUG", 30: "INFO", 40: "WARN", 50: "ERROR", 60: "FATAL"}
"""Levels of bunyan and pino, which log objects with numbers."""


def level_of_number(number: int) -> str:
    """The level that a number in a JSON object stands for; empty when nobody counts like that.

    Those of syslog and those of bunyan and pino, which do not overlap.
    """
    if 0 <= number < len(SYSLOG_LEVELS):
        return SYSLOG_LEVELS[number]
    return NUMBERED.get(number, "")
