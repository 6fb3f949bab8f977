"""Response parser: an HTTP/1.1 answer, taken as it arrives in pieces of any size."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.probing._response_parser_py import BadResponse, IncompleteResponse

__all__ = ["BadResponse", "IncompleteResponse", "ResponseParser"]

if TYPE_CHECKING:
    from penstock.probing._response_parser_py import ResponseParser
else:
    ResponseParser = twin(__name__).ResponseParser
