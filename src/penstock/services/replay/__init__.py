"""Replay: turns text logs into packets and sends them to a logs distributor.

Read it in the order in which a line goes through it:

    files.py     a file, an archive, a directory or standard input -> text, streamed
    parsers.py   a line -> a message with the level, source and time that the line states
    packets.py   messages -> packets -> batches, within the distributor's limits
    reading.py   the three above put together, with counts of what was read
    sender.py    batches -> POST /api/v1/logs, until each packet is accepted or refused

`penstock.cli.replay` is the command made of them.
"""
