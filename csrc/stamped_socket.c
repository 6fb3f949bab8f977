#ifdef __linux__
#define _GNU_SOURCE
#endif

#include "stamped_socket.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#ifdef __linux__

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 256

int ps_poller_open(void) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    return poller < 0 ? -errno : poller;
}

int ps_poller_wait(int poller, ps_ready *ready, int room) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(poller, events, room < EVENTS_AT_ONCE ? room : EVENTS_AT_ONCE, 0);
    if (count < 0) return -errno;
    for (int i = 0; i < count; i++) ready[i] = (ps_ready){events[i].data.u64, events[i].events};
    return count;
}

static int want_stamps(int fd) {
    int yes = 1;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes) < 0 ? -errno : 0;
}

int ps_stamping_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    want_stamps(fd);
    return fd;
}

/* The address as the system wants it, in *address; returns its length, 0 when it is none. */
static socklen_t sockaddr_of(const ps_endpoint *endpoint, struct sockaddr_storage *address) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, endpoint->ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, endpoint->ip, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(endpoint->port);
        v6->sin6_scope_id = endpoint->scope;
        return sizeof *v6;
    }
    return 0;
}

static int failed(int fd) {
    int error = errno;
    close(fd);
    return -error;
}

int ps_socket_connect(int poller, uint64_t tag, const ps_endpoint *to, const ps_endpoint *from) {
    struct sockaddr_storage there, here;
    socklen_t there_size = sockaddr_of(to, &there);
    socklen_t here_size = from ? sockaddr_of(from, &here) : 0;
    if (there_size == 0 || (from && here_size == 0)) return -EINVAL;
    int fd = socket(there.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int yes = 1;
    want_stamps(fd);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (from && bind(fd, (struct sockaddr *)&here, here_size) < 0) return failed(fd);
    if (connect(fd, (struct sockaddr *)&there, there_size) < 0 && errno != EINPROGRESS) return failed(fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = tag};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) return failed(fd);
    return fd;
}

int ps_socket_connected(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) return -errno;
    if (error) return -error;
    struct sockaddr_storage peer;
    size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0) return errno == ENOTCONN ? -EAGAIN : -errno;
    return 0;
}

int ps_socket_has_come(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

int64_t ps_socket_send(int fd, const void *bytes, size_t size) {
    ssize_t sent;
    do sent = send(fd, bytes, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static int64_t stamp_in(struct msghdr *message) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        struct timespec time;
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
        if (part->cmsg_len < CMSG_LEN(sizeof time)) continue;
        memcpy(&time, CMSG_DATA(part), sizeof time);
        return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    }
    return 0;
}

int64_t ps_socket_receive(int fd, void *bytes, size_t room, int64_t *stamp) {
    union { /* aligned as the kernel wants it */
        char bytes[64];
        struct cmsghdr header;
    } control;
    struct iovec piece = {bytes, room};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t size;
    do {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        size = recvmsg(fd, &message, 0);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return -errno;
    *stamp = stamp_in(&message);
    return size;
}

int ps_socket_facts(int fd, ps_tcp_facts *facts) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return -errno;
    if (size < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt) return -ENOSYS;
    *facts = (ps_tcp_facts){info.tcpi_rtt, info.tcpi_min_rtt, info.tcpi_total_retrans};
    return 0;
}

void ps_socket_close(int fd) { close(fd); }

#else

int ps_poller_open(void) { return -ENOSYS; }

int ps_poller_wait(int poller, ps_ready *ready, int room) {
    (void)poller, (void)ready, (void)room;
    return -ENOSYS;
}

int ps_stamping_socket(void) { return -ENOSYS; }

int ps_socket_connect(int poller, uint64_t tag, const ps_endpoint *to, const ps_endpoint *from) {
    (void)poller, (void)tag, (void)to, (void)from;
    return -ENOSYS;
}

int ps_socket_connected(int fd) {
    (void)fd;
    return -ENOSYS;
}

int ps_socket_has_come(int fd) {
    (void)fd;
    return -ENOSYS;
}

int64_t ps_socket_send(int fd, const void *bytes, size_t size) {
    (void)fd, (void)bytes, (void)size;
    return -ENOSYS;
}

int64_t ps_socket_receive(int fd, void *bytes, size_t room, int64_t *stamp) {
    (void)fd, (void)bytes, (void)room, (void)stamp;
    return -ENOSYS;
}

int ps_socket_facts(int fd, ps_tcp_facts *facts) {
    (void)fd, (void)facts;
    return -ENOSYS;
}

void ps_socket_close(int fd) { (void)fd; }

#endif

int64_t ps_wall_ns(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
