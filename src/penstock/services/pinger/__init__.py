"""Pinger: one GET to each of many URLs, and a row for each, also when it fails.

    targets.py   where URLs come from, one by one: arguments, a file, a pipe
    probe.py     one URL: GET with a timeout, retries, and the failure in plain words
    runner.py    all URLs: bounded fan-out to the probe, fan-in to the sinks
    report.py    sinks that write CSV and JSON, valid after every row
    screen.py    a sink for people
    model.py     what goes in (Target) and what comes out (PingResult)

Latency is the time from asking for a connection to the last byte of the answer, redirects included, of
the last attempt alone; waiting for a slot or between attempts is not in it. Every attempt makes its
own connection, so that the rows of one host mean the same: name (cached for a minute), connect, TLS,
request, answer.
"""
