"""Ports of the loopback that are free, and stay free for who was given them."""

import socket


def free_port() -> int:
    """A port of the loopback that is given to nobody else while the tests run.

    A socket keeps it: bound and never listening, so that the port refuses connections. A server that asks
    for this port may have it all the same, if it sets SO_REUSEADDR; who asks for any port gets another one.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    port: int = keeper.getsockname()[1]
    keeper.detach()
    return port
