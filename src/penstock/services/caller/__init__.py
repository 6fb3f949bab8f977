"""Caller: sends every request of a file, no faster than a limit, and a row for each.

    request_file.py   lines -> requests: a URL, or a JSON object; what is neither, and why
    pace.py           when a request may be sent: two token buckets, first come first served
    flow.py           what the run is doing, and what held it back
    call.py           one request: its turn, its attempts, its row
    runner.py         all requests: bounded fan-out to the call, fan-in to the sinks
    report.py         sinks that write CSV and JSON, valid after every row
    summary.py        a sink that counts
    screen.py         a sink for people
    model.py          what goes in (Request) and what comes out (Call)

The limit holds at the moment of sending, when a request's first byte leaves: in any window of t seconds at
most burst + rate * t requests go out, retries included. Redirects are not followed, since each would be a
request more.
"""
