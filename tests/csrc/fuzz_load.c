/* A load against a server that does anything at any moment: lists and counts fit together at each turn. */
#include "fuzz.h"
#include "load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ACCEPTED = 8, SERVERS = 2 };
#define STEP 1000000000000 /* ns by which the wall clock is set */

typedef struct {
    int fd;
    union {
        struct sockaddr any;
        struct sockaddr_un local; /* of no file; leaves no port behind either, so most inputs use it */
        struct sockaddr_in tcp;
    } name;
    socklen_t size;
} listener;

static listener local[SERVERS], tcp[SERVERS];

typedef struct {
    int fds[ACCEPTED];
    size_t n;
} server;

static void listen_at(listener *at, int family)
{
    at->name.any.sa_family = (sa_family_t)family;
    at->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FUZZ_REQUIRE(bind(at->fd, &at->name.any, at->size) == 0);
    FUZZ_REQUIRE(listen(at->fd, 2) == 0); /* so few that some are turned away */
    FUZZ_REQUIRE(getsockname(at->fd, &at->name.any, &at->size) == 0);
}

static void listen_once(void)
{
    if (local[0].size > 0) return;
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SERVERS; i++) {
        char *path = local[i].name.local.sun_path + 1;
        int length =
            snprintf(path, sizeof local[i].name.local.sun_path - 1, "fuzz_load.%d.%d", (int)getpid(), i);
        local[i].size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
        listen_at(&local[i], AF_UNIX);
        tcp[i].name.tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        tcp[i].size = sizeof tcp[i].name.tcp;
        listen_at(&tcp[i], AF_INET);
    }
}

static long allowed;   /* allocations until some fail; below 0: none does */
static long forbidden; /* so many, before there is memory again */

static void *resize(void *memory, size_t size)
{
    if (allowed == 0 && forbidden > 0) {
        forbidden--;
        return NULL;
    }
    if (allowed > 0) allowed--;
    void *grown = realloc(memory, size);
    size_t begin = size < 4096 ? size : 4096;
    if (memory == NULL && grown != NULL) memset(grown, 0x5a, begin); /* no zeros by luck */
    return grown;
}

static void accept_one(server *accepted, const listener *at)
{
    int fd = accept(at->fd, NULL, NULL);
    if (fd < 0) return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (accepted->n == ACCEPTED)
        close(fd);
    else
        accepted->fds[accepted->n++] = fd;
}

static void hang_up(server *accepted, size_t i)
{
    close(accepted->fds[i]); /* with bytes unread this is a reset */
    accepted->fds[i] = accepted->fds[--accepted->n];
}

static const char *const SAYINGS[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-",
    "Length: 1\r\n\r\n!",
    "nonsense\r\n",
};

static void act(fuzz_input *input, const listener *listeners, server *accepted)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    if (what % 4 == 0) accept_one(accepted, &listeners[what / 4 % SERVERS]);
    if (accepted->n == 0) return;
    size_t i = what / 8 % accepted->n;
    char unread[512];
    switch (fuzz_take(input, 1) % 8) {
    case 0:
        hang_up(accepted, i);
        break;
    case 1:
        shutdown(accepted->fds[i], SHUT_WR);
        break;
    case 2:
        break;
    case 3:
        (void)!write(accepted->fds[i], "HTTP/1.1 500", 12);
        break;
    default:
        if (read(accepted->fds[i], unread, sizeof unread) > 0 || what % 16 == 1) {
            const char *saying = SAYINGS[fuzz_take(input, 1) % (sizeof SAYINGS / sizeof *SAYINGS)];
            (void)!write(accepted->fds[i], saying, strlen(saying));
        }
    }
}

static void require_snapshot(const ps_load *load)
{
    static ps_histogram service, total, lag;
    static ps_load_window second;
    if (service.counts == NULL) {
        ps_allocator allocator = {realloc, free};
        ps_load_histogram(&service, false, allocator);
        ps_load_histogram(&total, false, allocator);
        ps_load_histogram(&lag, false, allocator);
        ps_load_histogram(&second.latency, true, allocator);
    }
    ps_load_counts counts;
    ps_load_snapshot(load, &counts, &service, &total, &lag);
    FUZZ_REQUIRE(memcmp(&counts, &load->counts, sizeof counts) == 0);
    FUZZ_REQUIRE((uint64_t)service.total == counts.answered);
    FUZZ_REQUIRE((uint64_t)total.total == (load->plan.interval > 0 ? counts.answered : 0));
    FUZZ_REQUIRE(counts.stamped + counts.voided <= counts.answered);
    FUZZ_REQUIRE(counts.truncated <= counts.answered && counts.sent <= counts.started + counts.retried);
    uint64_t over = ps_load_windows_over(load), answered = 0;
    FUZZ_REQUIRE(ps_load_window_of(load, over, &second) == PS_EMPTY);
    for (uint64_t i = 0; i < over; i++) {
        ps_status status = ps_load_window_of(load, i, &second);
        FUZZ_REQUIRE(status == (over - i < PS_LOAD_WINDOWS - 1 ? PS_OK : PS_REFUSED));
        if (status != PS_OK) continue;
        FUZZ_REQUIRE((uint64_t)second.latency.total == second.answered);
        answered += second.answered;
    }
    if (load->over && over < PS_LOAD_WINDOWS - 1) FUZZ_REQUIRE(answered == counts.answered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    listen_once();
    fuzz_input input = {data, size < 256 ? size : 256};
    const listener *listeners = fuzz_take(&input, 1) % 32 ? local : tcp;
    static const char REQUEST[1 << 20] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"; /* with a body, perhaps */
    ps_load_target targets[3];
    memset(targets, 0, sizeof targets);
    for (size_t i = 0; i < 3; i++) {
        targets[i].server = i == 2 ? 1 : 0;
        const listener *at = &listeners[targets[i].server];
        memcpy(targets[i].address, &at->name, at->size);
        targets[i].address_size = at->size;
        targets[i].request = (const uint8_t *)REQUEST;
        targets[i].size = fuzz_take(&input, 1) % 16 ? strlen(REQUEST) : sizeof REQUEST;
        targets[i].head = fuzz_take(&input, 1) % 8 == 0;
        targets[i].idempotent = fuzz_take(&input, 1) % 2;
    }
    ps_load_plan plan = {
        .targets = targets,
        .targets_size = 3,
        .servers = SERVERS,
        .first = (uint32_t)fuzz_take(&input, 1),
        .connections = (uint32_t)fuzz_between(&input, 1, 6),
        .connecting = (uint32_t)fuzz_between(&input, 1, 6),
        .keep_alive = fuzz_take(&input, 1) % 4 != 0,
        .interval = fuzz_take(&input, 1) % 2 ? 0 : (double)fuzz_between(&input, 1, 100000),
        .offset = (double)fuzz_between(&input, 0, 1000),
        .count = fuzz_take(&input, 1) % 4 ? (uint64_t)fuzz_between(&input, 1, 40) : PS_LOAD_NO_COUNT,
        .duration = fuzz_take(&input, 1) % 2 ? PS_LOAD_NO_DURATION : fuzz_between(&input, 1, 1000000),
        .timeout = fuzz_take(&input, 1) % 2 ? INT64_C(3600000000000) : fuzz_between(&input, 1, 200000),
        .limits = {(size_t)fuzz_between(&input, PS_HTTP_MIN_HEAD, 400), (uint64_t)fuzz_between(&input, 0, 10),
                   0},
    };
    allowed = fuzz_take(&input, 1) % 16 == 0 ? fuzz_between(&input, 0, 40) : -1;
    forbidden = allowed < 0 ? 0 : fuzz_take(&input, 1) % 2 ? 1 : LONG_MAX;
    ps_load load;
    if (ps_load_init(&load, plan, (ps_allocator){resize, free}) != PS_OK) {
        FUZZ_REQUIRE(allowed == 0);
        return 0;
    }
    FUZZ_REQUIRE(ps_load_check(&load));
    server accepted = {.n = 0};
    ps_load_begin(&load);
    FUZZ_REQUIRE(ps_load_check(&load));
    bool goes_on = true;
    while (goes_on && input.left > 0) {
        act(&input, listeners, &accepted);
        if (fuzz_take(&input, 1) % 32 == 0) load.wall += fuzz_between(&input, -STEP, STEP);
        if (fuzz_take(&input, 1) % 32 == 0) load.tick = load.now; /* as if more time had passed */
        if (fuzz_take(&input, 1) % 64 == 0)
            load.window_end = load.now - fuzz_between(&input, 0, 20) * PS_LOAD_WINDOW;
        goes_on = ps_load_step(&load, false);
        FUZZ_REQUIRE(ps_load_check(&load));
    }
    ps_load_stop(&load);
    if (goes_on) FUZZ_REQUIRE(!ps_load_step(&load, false));
    FUZZ_REQUIRE(ps_load_check(&load) && ps_load_is_over(&load) && !ps_load_step(&load, true));
    require_snapshot(&load);
    ps_load_free(&load);
    while (accepted.n > 0) hang_up(&accepted, 0);
    for (int i = 0; i < SERVERS; i++)
        for (int fd; (fd = accept(listeners[i].fd, NULL, NULL)) >= 0;) close(fd);
    return 0;
}
