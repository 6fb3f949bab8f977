"""The REST API: request -> state -> answer, one function a route, one file a subject."""
