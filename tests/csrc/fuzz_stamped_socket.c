/* Two ends of a connection in one process: what goes in comes out, in order, with times that can be. */
#define _GNU_SOURCE
#include "fuzz.h"

#include "stamped_socket.h"

#ifdef __linux__

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TAG = 7, MOST = 1024 };

static int poller = -1, listening = -1, stamping = -1, here = -1, there = -1;
static uint16_t port;

static int dead_port_fd = -1;
static uint16_t dead_port;

static uint16_t bound(int *fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    FUZZ_REQUIRE(*fd >= 0 && bind(*fd, (struct sockaddr *)&address, size) == 0);
    FUZZ_REQUIRE(getsockname(*fd, (struct sockaddr *)&address, &size) == 0);
    return ntohs(address.sin_port);
}

static void open_once(void)
{
    if (poller >= 0) return;
    poller = ps_poller_open();
    stamping = ps_stamping_socket();
    FUZZ_REQUIRE(poller >= 0 && stamping >= 0);
    port = bound(&listening);
    dead_port = bound(&dead_port_fd); /* never listens: refuses */
    FUZZ_REQUIRE(listen(listening, 16) == 0);
}

static void hang_up(void)
{
    struct linger at_once = {1, 0}; /* RST, so that no port waits */
    if (there >= 0) setsockopt(there, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (there >= 0) close(there);
    if (here >= 0) ps_socket_close(here);
    here = there = -1;
}

static void connect_anew(const ps_endpoint *from)
{
    ps_endpoint to = {"127.0.0.1", 0, port};
    ps_ready ready[4];
    hang_up();
    here = ps_socket_connect(poller, TAG, &to, from);
    FUZZ_REQUIRE(here >= 0);
    there = accept(listening, NULL, NULL);
    FUZZ_REQUIRE(there >= 0);
    int count = ps_poller_wait(poller, ready, 4);
    FUZZ_REQUIRE(count == 1 && ready[0].tag == TAG && (ready[0].events & EPOLLOUT));
    FUZZ_REQUIRE(ps_socket_connected(here) == 0);
    FUZZ_REQUIRE(ps_poller_wait(poller, ready, 4) == 0); /* an edge comes once */
}

static void refuse_what_is_none(void)
{
    ps_endpoint none = {"127.0.0.256", 0, port}, dead = {"127.0.0.1", 0, dead_port};
    ps_endpoint good = {"127.0.0.1", 0, port}, strange = {"192.0.2.1", 0, 0};
    FUZZ_REQUIRE(ps_socket_connect(poller, TAG, &none, NULL) == -EINVAL);
    FUZZ_REQUIRE(ps_socket_connect(poller, TAG, &good, &none) == -EINVAL);
    FUZZ_REQUIRE(ps_socket_connect(poller, TAG, &good, &strange) == -EADDRNOTAVAIL);
    int fd = ps_socket_connect(poller, TAG, &dead, NULL);
    FUZZ_REQUIRE(fd == -ECONNREFUSED || (fd >= 0 && ps_socket_connected(fd) == -ECONNREFUSED));
    if (fd >= 0) ps_socket_close(fd);
}

static void exchange(fuzz_input *input)
{
    uint8_t sent[MOST], got[MOST];
    ps_tcp_facts facts;
    size_t size = (size_t)fuzz_between(input, 1, MOST), at = 0;
    for (size_t i = 0; i < size; i++) sent[i] = (uint8_t)(i * 31 + size);
    int64_t stamp = 0, before = ps_wall_ns();
    FUZZ_REQUIRE(ps_socket_has_come(here) == 0);
    FUZZ_REQUIRE(send(there, sent, size, MSG_NOSIGNAL) == (ssize_t)size);
    FUZZ_REQUIRE(ps_socket_has_come(here) == 1); /* and takes nothing away */
    while (at < size) {
        size_t room = (size_t)fuzz_between(input, 1, MOST);
        int64_t came = ps_socket_receive(here, got + at, room < size - at ? room : size - at, &stamp);
        FUZZ_REQUIRE(came > 0);
        at += (size_t)came;
        FUZZ_REQUIRE(stamp == 0 || (stamp >= before - 1000000 && stamp <= ps_wall_ns() + 1000000));
    }
    FUZZ_REQUIRE(memcmp(sent, got, size) == 0);
    FUZZ_REQUIRE(ps_socket_receive(here, got, MOST, &stamp) == -EAGAIN);
    FUZZ_REQUIRE(ps_socket_send(here, sent, size) == (int64_t)size);
    FUZZ_REQUIRE(recv(there, got, MOST, 0) > 0);
    while (recv(there, got, MOST, MSG_DONTWAIT) > 0) continue;
    FUZZ_REQUIRE(ps_socket_facts(here, &facts) == 0 && facts.min_rtt_us <= 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_endpoint from = {"127.0.0.9", 0, 0};
    uint8_t end[1];
    int64_t stamp;
    open_once();
    switch (fuzz_between(&input, 0, 15)) {
    case 0:
        connect_anew(NULL);
        break;
    case 1:
        connect_anew(&from);
        break;
    case 2:
        refuse_what_is_none();
        break;
    case 3: /* the end, and what comes of sending behind it */
        connect_anew(NULL);
        shutdown(there, SHUT_WR);
        FUZZ_REQUIRE(ps_socket_has_come(here) == 1);
        FUZZ_REQUIRE(ps_socket_receive(here, end, 1, &stamp) == 0);
        hang_up();
        break;
    default:
        break;
    }
    if (here < 0) connect_anew(NULL);
    for (int64_t times = fuzz_between(&input, 0, 3); times > 0; times--) exchange(&input);
    return 0;
}

#else

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data, (void)size;
    FUZZ_REQUIRE(ps_poller_open() < 0);
    return 0;
}

#endif
