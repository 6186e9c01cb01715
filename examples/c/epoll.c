/* Counts what publisher.c publishes, era by era, in a loop over epoll with a timer beside it, until the publisher has gone: epoll
 *
 *     cc -std=c11 epoll.c $(pkg-config --cflags --libs syncline) -o epoll
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <syncline.h>
#include <unistd.h>

#include "pose.h"

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "epoll: %s\n", syncline_detail()), exit(1)) : (void)0)
#define OR_SAY(call) ((call) < 0 ? (perror("epoll"), exit(1)) : (void)0)

static unsigned closed;

/* Takes eras until there is none: from then on the reader's descriptor says when there is one. */
static void take_eras(syncline_reader *reader) {
    const struct syncline_message *message;
    const struct syncline_era *era;
    int got;
    while ((got = syncline_reader_try_era(reader, &era)) != 0) {
        unsigned messages = 0;
        if (got == SYNCLINE_ECLOSED) { /* once for each channel */
            closed++;
            continue;
        }
        OR_DIE(got);
        while ((got = syncline_era_next(reader, &message)) > 0) {
            messages++;
        }
        OR_DIE(got);
        printf("era %" PRIu64 ": %u messages\n", era->number, messages);
    }
}

int main(void) {
    const struct syncline_type bytes = SYNCLINE_TYPE_BYTES;
    const struct syncline_channel channels[] = {{"pose", &pose_type}, {"note", &bytes}};
    struct syncline_reader_options options = {
        .size = sizeof options, .zone = "plant", .name = "epoll.c", .channels = channels, .channel_count = 2, .synced = 1};
    const struct itimerspec soon = {.it_interval = {0, 10000000}, .it_value = {0, 1}};
    uint64_t ticks = 0;
    syncline_bus *bus;
    syncline_reader *reader;
    struct epoll_event event = {.events = EPOLLIN};
    int descriptor, timer, epoll;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_reader_open(bus, &options, &reader));
    OR_DIE(syncline_reader_pollable(reader, &descriptor));
    OR_SAY(timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    OR_SAY(timerfd_settime(timer, 0, &soon, NULL));
    OR_SAY(epoll = epoll_create1(EPOLL_CLOEXEC));
    event.data.fd = descriptor;
    OR_SAY(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event));
    event.data.fd = timer;
    OR_SAY(epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event));

    while (closed < options.channel_count || ticks == 0) {
        if (epoll_wait(epoll, &event, 1, -1) < 1) {
            continue;
        }
        if (event.data.fd == descriptor) {
            take_eras(reader);
        } else {
            uint64_t expired;
            if (read(timer, &expired, sizeof expired) == sizeof expired) {
                ticks += expired;
            }
        }
    }
    printf("the timer has run\n");
    close(epoll);
    close(timer);
    syncline_reader_close(reader);
    syncline_bus_close(bus);
    return 0;
}
