"""The error of a service that cannot have its address."""

import errno
import os

from penstock.errors import PenstockError

__all__ = ["CannotListen"]

PORT_IS_AT_FAULT = (errno.EADDRINUSE, errno.EACCES)


class CannotListen(PenstockError, OSError):
    """The address is taken or not ours."""

    @classmethod
    def because(cls, error: OSError, host: str, port: int) -> "CannotListen":
        """What `error` says, without the words of the layers between, and what to do about it."""
        number = error.errno or 0
        reason = os.strerror(number).lower() if number > 0 else error.strerror  # getaddrinfo's are negative
        choice = "--port" if number in PORT_IS_AT_FAULT else "--host"
        return cls(f"cannot listen on {host}:{port}: {reason}; choose another {choice}")
