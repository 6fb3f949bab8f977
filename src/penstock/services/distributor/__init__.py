"""The logs distributor: takes log messages in many protocols and deals them to analyzers by weight.

    POST   /api/v1/logs                   stores packets: 202 all, 207 some, 422 none valid, 503 no room
    GET    /api/v1/packets/{id}           what became of a packet
    GET    /api/v1/tail                   what happens to packets, as it happens (server-sent events)

    GET    /api/v1/health                 healthy, degraded or unhealthy, and how many analyzers are up
    GET    /api/v1/stats                  every figure
    GET    /api/v1/analyzers              every analyzer
    POST   /api/v1/analyzers              adds one; PUT, PATCH and DELETE /api/v1/analyzers/{id} change it
    POST   /api/v1/analyzers/{id}/health  {"healthy": false} holds it down, {"healthy": true} puts it back;
                                          {"state": "drain", "ttl": 600, "reason": ""} for a time

    GET    /api/v1/dead-letter            packets given up, last failed first: ?limit= ?before= ?since=
                                          ?until=; or those that match: ?q= ?order=relevance
    GET    /api/v1/dead-letter/{seq}      one of them
    POST   /api/v1/dead-letter/replay     makes packets of them again; GET tells how far, DELETE stops it
    POST   /api/v1/dead-letter/purge      removes them, or tells how many it would be

    GET    /api/v1/config                 the settings in force, without secrets
    POST   /api/v1/config                 reads them anew, as SIGHUP does

    GET    /                              the page
    GET    /livez /readyz /metrics        for the machinery around it

Other protocols over HTTP have the paths that their clients know (inputs/routes.py). Errors are problem
details (RFC 9457), or what those clients expect. With `api_keys`, every path but those of the last two lines
needs one: that may send for what takes logs, that may operate for what changes the service or tells its
settings, any for health, and that may read for all else.
"""
