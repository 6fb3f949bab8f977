"""The concurrency lab: a server that behaves as told, and every fan-out pattern measured against it.

The server answers

    GET  /data     JSON with the latency that it simulated; or an error, or nothing, as it is told to behave
    GET  /         how it is told to behave, and its figures, as JSON
    GET  /livez    200 while the process runs
    GET  /readyz   200 while it takes requests, 503 when it is stopping
    GET  /metrics  the figures for Prometheus

Errors are problem details (RFC 9457). A comparison starts such a server for each pattern, the same seed
every time, and runs the pattern in a process of its own:

    config.py         how the server behaves, and where it listens
    latency.py        models of latency
    state.py          what becomes of each request: no HTTP, no clock of its own
    request_head.py   requests, read strictly
    responses.py      what is written
    connection.py     one connection
    site.py           where all connections meet the state
    app.py            its life from start to SIGTERM

    patterns.py       the patterns by name, as a comparison runs them
    run.py            one pattern in this process, and what it costs
    process.py        the same in a fresh process, beside a fresh server
    comparison.py     all of them
    timeline.py       what was in flight, and how it fared, in slices of time
    table.py          a comparison in 80 columns
    page.py           the same as a page with plots
    screen.py         how far a comparison is
"""
