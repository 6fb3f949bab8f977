/* stamped_socket -- non-blocking TCP sockets on an epoll, with the kernel's own times of what arrives.
 *
 *     poller = ps_poller_open();
 *     fd = ps_socket_connect(poller, tag, to, from);   ... tag comes back when fd is ready
 *     n = ps_poller_wait(poller, ready, room);
 *     ps_socket_connected(fd); ps_socket_send(fd, ...); ps_socket_receive(fd, ..., &stamp);
 *     ps_socket_close(fd);
 *
 * Sockets are registered once, edge-triggered, for reading, writing and the other side's end. A call that
 * fails returns -errno; -EAGAIN says that it can be made again when the socket is ready. Where there is no
 * epoll every call returns -ENOSYS. Nothing here allocates.
 * A tag must not be trusted to be of a socket that is still open: one that another process has too, by fork,
 * stays registered when it is closed here.
 * Source: socket(7), SO_TIMESTAMPNS: for TCP it is the time at which the last byte handed over arrived, on
 * the wall clock (Linux 4.14, net: ipv4 receive timestamps for TCP); tcp(7), TCP_INFO. */
#ifndef PS_STAMPED_SOCKET_H
#define PS_STAMPED_SOCKET_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *ip; /* as text */
    uint32_t scope; /* the interface of a link-local IPv6 address, 0 for none */
    uint16_t port;
} ps_endpoint;

typedef struct {
    uint64_t tag;
    uint32_t events; /* of epoll */
} ps_ready;

typedef struct {
    uint32_t rtt_us;
    uint32_t min_rtt_us;
    uint32_t retransmits;
} ps_tcp_facts;

/* Descriptor of a poller. */
int ps_poller_open(void);

/* Up to `room` sockets that are ready now; never waits. Returns how many. */
int ps_poller_wait(int poller, ps_ready *ready, int room);

/* Descriptor of a socket that does nothing but want stamps: the kernel takes none while nobody does. */
int ps_stamping_socket(void);

/* Begins to connect; returns the descriptor. `from` is NULL for the system's choice. */
int ps_socket_connect(int poller, uint64_t tag, const ps_endpoint *to, const ps_endpoint *from);

/* 0 when it is connected, -EAGAIN while it is on its way. */
int ps_socket_connected(int fd);

/* 1 when something is there to be read, be it the end or an error, else 0. Reads nothing. */
int ps_socket_has_come(int fd);

/* Returns how many bytes it took. */
int64_t ps_socket_send(int fd, const void *bytes, size_t size);

/* Returns how many bytes came, 0 at the end; *stamp is when the last of them arrived, wall clock, 0 for unknown. */
int64_t ps_socket_receive(int fd, void *bytes, size_t room, int64_t *stamp);

/* What the kernel knows of the connection. */
int ps_socket_facts(int fd, ps_tcp_facts *facts);

void ps_socket_close(int fd);

/* Nanoseconds since 1970. */
int64_t ps_wall_ns(void);

#endif
