"""Every fuzzed parser of bytes from outside, by name."""

from fuzz.input_parsers import PARSERS as HTTP_INPUTS
from fuzz.packet_parsers import PARSERS as PACKETS
from fuzz.parsing import Parser
from fuzz.stream_parsers import PARSERS as STREAMS

PARSERS: dict[str, Parser] = {**PACKETS, **HTTP_INPUTS, **STREAMS}
