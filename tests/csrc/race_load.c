/* A load in one thread, its server in another, and a third that reads all figures again and again and stops
 * it, for the thread sanitizer: no data race, and figures that only grow. */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"
#include "require.h"

enum { CONNECTIONS = 8, ENOUGH = 20000 };

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static ps_load load;
static int listener;

static void *serve(void *unused)
{
    (void)unused;
    int poller = epoll_create1(0), left = CONNECTIONS;
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = accept(listener, NULL, NULL);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
    while (left > 0) {
        struct epoll_event event;
        char request[sizeof REQUEST];
        if (epoll_wait(poller, &event, 1, -1) != 1) continue;
        if (recv(event.data.fd, request, sizeof request, 0) > 0) {
            (void)!send(event.data.fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL);
        } else {
            close(event.data.fd);
            left--;
        }
    }
    close(poller);
    return NULL;
}

static void *run(void *unused)
{
    (void)unused;
    ps_load_begin(&load);
    while (ps_load_step(&load, true)) continue;
    return NULL;
}

int main(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "race_load.%d", (int)getpid());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(listener, (struct sockaddr *)&name, size) == 0 && listen(listener, CONNECTIONS) == 0);

    ps_allocator allocator = {realloc, free};
    ps_load_target target = {
        .address_size = size, .request = (const uint8_t *)REQUEST, .size = sizeof REQUEST - 1};
    memcpy(target.address, &name, size);
    ps_load_plan plan = {
        .targets = &target,
        .targets_size = 1,
        .servers = 1,
        .connections = CONNECTIONS,
        .connecting = CONNECTIONS,
        .keep_alive = true,
        .count = PS_LOAD_NO_COUNT,
        .duration = PS_LOAD_NO_DURATION,
        .timeout = INT64_C(60000000000),
        .limits = {65536, 1 << 20, 0},
    };
    REQUIRE(ps_load_init(&load, plan, allocator) == PS_OK);
    ps_histogram service, total, lag;
    ps_load_window second;
    REQUIRE(ps_load_histogram(&service, false, allocator) == PS_OK);
    REQUIRE(ps_load_histogram(&total, false, allocator) == PS_OK);
    REQUIRE(ps_load_histogram(&lag, false, allocator) == PS_OK);
    REQUIRE(ps_load_histogram(&second.latency, true, allocator) == PS_OK);

    pthread_t server, loop;
    pthread_create(&server, NULL, serve, NULL);
    pthread_create(&loop, NULL, run, NULL);
    ps_load_counts counts = {0};
    uint64_t before = 0;
    while (counts.answered < ENOUGH || ps_load_windows_over(&load) == 0) { /* a second, at least */
        ps_load_snapshot(&load, &counts, &service, &total, &lag);
        REQUIRE(counts.answered >= before && counts.failed == 0);
        before = counts.answered;
        uint64_t over = ps_load_windows_over(&load);
        if (over > 0) REQUIRE(ps_load_window_of(&load, over - 1, &second) == PS_OK && second.answered > 0);
    }
    ps_load_stop(&load);
    pthread_join(loop, NULL);
    pthread_join(server, NULL);
    REQUIRE(ps_load_is_over(&load) && ps_load_check(&load));
    ps_load_snapshot(&load, &counts, &service, &total, &lag);
    REQUIRE((uint64_t)service.total == counts.answered &&
            counts.started == counts.answered + counts.abandoned);

    ps_load_free(&load);
    ps_histogram_free(&service);
    ps_histogram_free(&total);
    ps_histogram_free(&lag);
    ps_histogram_free(&second.latency);
    close(listener);
    printf("race_load: %d requests and more, all rules held\n", ENOUGH);
    return 0;
}
