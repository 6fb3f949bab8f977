"""Syslog as it comes, made into records."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["SyslogLines"]

if TYPE_CHECKING:
    from penstock.services.distributor.inputs._syslog_lines_py import SyslogLines
else:
    SyslogLines = twin(__name__).SyslogLines
