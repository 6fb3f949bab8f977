"""Schemas: descriptor sets become classes, and classes become typed Python modules.

descriptor_proto.py   the messages that schemas themselves are written in
features.py           what editions, proto2 and proto3 say of a field, once everything is inherited
definitions.py        every type of a set of files, by its full name
fields.py             one field of such a file as a FieldDescriptor
defaults.py           the default values of proto2, which are text
schema.py             the classes of a set of files, made when they are asked for
generator.py          a set of files as Python modules
generated_module.py   one of those modules
python_names.py       what a name of a schema is called in Python
python_text.py        pieces of Python source, laid out as ruff does it
"""

from penstock.protobuf.schema.schema import NoSuchType, Schema, build, load_descriptor_set

__all__ = ["NoSuchType", "Schema", "build", "load_descriptor_set"]
