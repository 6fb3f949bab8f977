"""The logs distributor: takes packets of log messages over HTTP and deals them to analyzers by weight.

    POST /api/v1/logs                   stores packets: 202 all, 207 some, 422 none valid, 503 no room
    GET  /api/v1/health                 healthy, degraded or unhealthy, and how many analyzers are up
    GET  /api/v1/stats                  every figure
    GET  /api/v1/analyzers              every analyzer
    POST /api/v1/analyzers/{id}/health  {"healthy": false} holds it down, {"healthy": true} puts it back
    GET  /api/v1/dead-letter            packets given up, last failed first: ?limit= ?before= ?since= ?until=,
                                        or those that match: ?q= ?order=relevance
    GET  /                              the page
    GET  /livez /readyz /metrics        for the machinery around it

Errors are problem details (RFC 9457).
"""
