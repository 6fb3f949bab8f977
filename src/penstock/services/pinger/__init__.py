"""Pinger: requests to URLs, a row for each, also when it fails, and where the time went.

    targets.py       where URLs come from, one by one: arguments, a file, a pipe
    target_file.py   targets with all that belongs to them, from TOML
    settings.py      how to ping
    schedule.py      when which target is pinged: once, in rounds, at a rate, each in its interval
    runner.py        all turns: bounded fan-out to the probe, fan-in to the sinks
    probe.py         one ping: attempts, redirects, retries; its row
    redirects.py  retry_budget.py  assertions.py  addresses.py    what the probe goes by
    model.py         what goes in (Target) and what comes out (PingResult)

    summary.py       a run as a whole, and whether to believe it
    figures.py  in_flight.py  lag.py    what it is made of, in memory that does not grow
    report.py        sinks that write CSV, JSON and NDJSON, valid after every row
    summary_file.py  comparison.py      the summary as JSON, and two of them beside each other
    words.py         what people read; plain_screen.py for pipes, screen.py for terminals

    workers.py       a run shared out to processes (worker.py), which talk in messages.py
    load_run.py      a run with the load engine

Three latencies, all to the last byte of the answer:

    total     from when the ping was due: waiting for a slot, attempts and the pauses between them included
    latency   the last attempt alone, from looking up its name, redirects included
    service   the last attempt, from sending on, without making connections

Every request makes its own connection unless they shall be kept, so that the rows of one host mean the
same: name (remembered for a minute), connect, TLS, request, answer.
"""
