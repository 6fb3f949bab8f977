"""The watch: targets pinged on schedule for as long as it is served, their history, and alerts.

config.py     settings: a TOML file, then the environment, then flags
state.py      what the watch knows of each target: up or down, its last pings, its bars; no I/O
history.py    every ping in SQLite, percentiles over any period, alerts that wait to be sent
alerts.py     webhooks: a POST for each change, until it is taken
rounds.py     when which target is pinged, never twice at once
recorder.py   the way of a result: into the state, the history and the alerts
handlers.py   request -> state -> answer, one function a route
app.py        create_app, where the parts meet

GET  /                                   the status page
GET  /api/v1/targets                     every target: state, last ping, uptime, bars
GET  /api/v1/targets/{name}/history      ?since=&until=&step=: counts, uptime and percentiles
GET  /probe?target=URL&module=NAME       one ping at once, as blackbox_exporter answers it
GET  /metrics                            the last ping of every target, and the watch itself
GET  /livez  /readyz
"""
