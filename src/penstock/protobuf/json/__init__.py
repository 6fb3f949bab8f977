"""ProtoJSON: messages as JSON, and back; `Message.to_json` and its kin.

    format.py       what users call, in a word each
    write.py        the writer of each class, put together when its first message is written
    source.py       writers as Python source
    read.py         the reader of each class
    containers.py   lists and maps
    scalars.py      numbers, text, bytes and enums
    well_known.py   the types that look otherwise: Timestamp, Any, Struct, ...
    text.py         JSON text, bounded before it is parsed
    types.py        where the message in an Any, and an extension, is looked up
    state.py        what one call carries along: options, limits, the way to where it is

Source: https://protobuf.dev/programming-guides/json
"""

from penstock.protobuf.json.format import from_dict, from_json, to_dict, to_json

__all__ = ["from_dict", "from_json", "to_dict", "to_json"]
