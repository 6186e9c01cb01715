/* Ways to wait, descriptors for poll, and wait sets. Prints "ok". */
#define _GNU_SOURCE
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND 1000000000LL

struct talk {
    syncline_writer *writer;
    syncline_lane lane;
    unsigned count;
};

/* Publishes numbers, with pauses that let the other side sleep. */
static void *publish(void *argument) {
    struct talk *talk = argument;
    for (unsigned number = 0; number < talk->count; number++) {
        usleep(number % 7 * 100);
        IS(0, syncline_writer_publish(talk->writer, talk->lane, &number, sizeof number));
    }
    return NULL;
}

static unsigned number_of(const struct syncline_message *message) {
    CHECK(message->len == sizeof(unsigned));
    return *(const unsigned *)message->data;
}

static void every_wait(syncline_bus *bus) {
    syncline_reader *reader = open_reader(bus, "waits", "c", 0);
    struct talk talk = {open_writer(bus, "waits", "w"), 0, 100};
    const struct syncline_message *message;
    const struct syncline_sleeps *sleeps;
    uint64_t asleep = 0;
    talk.lane = open_lane(talk.writer, "c", NULL);
    FAILS(SYNCLINE_EINVALID, syncline_reader_set_wait(reader, 4, 0), "found 4");
    FAILS(SYNCLINE_EINVALID, syncline_writer_set_room_wait(talk.writer, 4, 0), "found 4");
    IS(0, syncline_writer_set_room_wait(talk.writer, SYNCLINE_WAIT_SPIN_THEN_BLOCK, 1000));
    for (uint32_t wait = SYNCLINE_WAIT_BRIEF; wait <= SYNCLINE_WAIT_BLOCK; wait++) {
        pthread_t thread;
        IS(0, syncline_reader_set_wait(reader, wait, 20000));
        IS(0, pthread_create(&thread, NULL, publish, &talk));
        for (unsigned number = 0; number < talk.count; number++) {
            IS(1, syncline_reader_wait(reader, 60 * SECOND, &message));
            CHECK(number_of(message) == number);
        }
        IS(0, syncline_reader_wait(reader, 0, &message));
        IS(0, pthread_join(thread, NULL));
        IS(0, syncline_reader_sleeps(reader, &sleeps));
        CHECK(sleeps->missed == 0);
        if (wait == SYNCLINE_WAIT_SPIN) {
            CHECK(sleeps->rung + sleeps->overtaken == asleep);
        } else {
            CHECK(sleeps->rung + sleeps->overtaken > asleep);
        }
        asleep = sleeps->rung + sleeps->overtaken;
    }
    syncline_writer_close(talk.writer);
    syncline_reader_close(reader);
}

static int readable(int descriptor, int timeout_ms) {
    struct pollfd waiting = {.fd = descriptor, .events = POLLIN};
    return poll(&waiting, 1, timeout_ms) == 1;
}

static void descriptors(syncline_bus *bus) {
    syncline_reader *live = open_reader(bus, "polled", "c", 0);
    syncline_reader *synced = open_reader(bus, "polled", "c", 1);
    syncline_writer *writer = open_writer(bus, "polled", "w");
    syncline_lane lane = open_lane(writer, "c", NULL);
    const struct syncline_message *message;
    const struct syncline_era *era;
    int descriptor, of_eras, again;
    IS(0, syncline_reader_pollable(live, &descriptor));
    IS(0, syncline_reader_pollable(live, &again));
    IS(0, syncline_reader_pollable(synced, &of_eras));
    CHECK(descriptor == again && descriptor >= 0 && descriptor != of_eras);
    FAILS(SYNCLINE_EINVALID, syncline_reader_pollable(live, NULL), "descriptor");
    CHECK(readable(descriptor, 0) && readable(of_eras, 0));
    IS(0, syncline_reader_try(live, &message));
    IS(0, syncline_reader_try_era(synced, &era));
    CHECK(!readable(descriptor, 0) && !readable(of_eras, 0));
    say(writer, lane, 'a');
    CHECK(readable(descriptor, 60000));
    CHECK(!readable(of_eras, 0));
    IS(0, syncline_writer_edge(writer, NULL));
    CHECK(readable(of_eras, 60000));
    IS(1, syncline_reader_try(live, &message));
    CHECK(readable(descriptor, 0));
    IS(0, syncline_reader_try(live, &message));
    CHECK(!readable(descriptor, 0));
    next_era_has(synced, 1, "a");
    IS(0, syncline_reader_wait_era(synced, 1000, &era));
    CHECK(!readable(of_eras, 0));
    say(writer, lane, 'b');
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        syncline_wait_set *set;
        IS(SYNCLINE_EFORKED, syncline_reader_pollable(live, &again));
        IS(SYNCLINE_EFORKED, syncline_reader_set_wait(live, 0, 0));
        IS(SYNCLINE_EFORKED, syncline_reader_try(live, &message));
        IS(0, syncline_wait_set_open(&set));
        FAILS(SYNCLINE_EFORKED, syncline_wait_set_add_reader(set, 1, live), "fork");
        syncline_wait_set_close(set);
        syncline_reader_close(live);
        syncline_reader_close(synced);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(readable(descriptor, 60000));
    IS(1, syncline_reader_try(live, &message));
    syncline_writer_close(writer);
    syncline_reader_close(live);
    syncline_reader_close(synced);
}

static void sets(syncline_bus *bus) {
    syncline_reader *readers[] = {open_reader(bus, "set a", "c", 0), open_reader(bus, "set b", "c", 0)};
    struct talk talk = {open_writer(bus, "set b", "w"), 0, 50};
    const struct syncline_message *message;
    syncline_wait_set *set;
    pthread_t thread;
    uint64_t keys[8];
    int ends[2], own;
    unsigned next = 0;
    talk.lane = open_lane(talk.writer, "c", NULL);
    IS(0, pipe(ends));
    IS(0, syncline_wait_set_open(&set));
    IS(0, syncline_wait_set_pollable(set, &own));
    FAILS(SYNCLINE_EINVALID, syncline_wait_set_set_wait(set, 9, 0), "found 9");
    IS(0, syncline_wait_set_set_wait(set, SYNCLINE_WAIT_SPIN_THEN_BLOCK, 1000));
    IS(0, syncline_wait_set_add_reader(set, 0, readers[0]));
    IS(0, syncline_wait_set_add_reader(set, 1, readers[1]));
    FAILS(SYNCLINE_EIO, syncline_wait_set_add_reader(set, 1, readers[1]), "wait set");
    IS(0, syncline_wait_set_add_fd(set, 7, ends[0]));
    FAILS(SYNCLINE_EINVALID, syncline_wait_set_add_fd(set, 7, -1), "-1");
    FAILS(SYNCLINE_EIO, syncline_wait_set_add_fd(set, 7, 12345), "wait set");
    FAILS(SYNCLINE_EINVALID, syncline_wait_set_wait(set, 0, NULL, 8), "keys");
    FAILS(SYNCLINE_EINVALID, syncline_wait_set_wait(set, 0, keys, 0), "keys");
    IS(2, syncline_wait_set_wait(set, 0, keys, 8)); /* nobody has looked yet */
    IS(1, syncline_wait_set_wait(set, 0, keys, 1));
    CHECK(readable(own, 0));
    IS(0, pthread_create(&thread, NULL, publish, &talk));
    while (next < talk.count) {
        int ready = syncline_wait_set_wait(set, 60 * SECOND, keys, 8);
        CHECK(ready > 0);
        while (ready-- > 0) {
            CHECK(keys[ready] < 2);
            while (syncline_reader_try(readers[keys[ready]], &message) == 1) {
                CHECK(keys[ready] == 1 && number_of(message) == next);
                next++;
            }
        }
    }
    IS(0, pthread_join(thread, NULL));
    IS(1, (int)write(ends[1], "x", 1));
    do {
        IS(0, syncline_reader_try(readers[1], &message)); /* the last ring may come late */
        CHECK(syncline_wait_set_wait(set, 60 * SECOND, keys, 1) == 1);
    } while (keys[0] != 7);
    IS(0, syncline_wait_set_remove_fd(set, ends[0]));
    FAILS(SYNCLINE_EIO, syncline_wait_set_remove_fd(set, ends[0]), "wait set");
    IS(0, syncline_wait_set_remove_reader(set, readers[1]));
    syncline_reader_close(readers[0]);
    IS(0, syncline_wait_set_wait(set, 1000, keys, 8));
    syncline_wait_set_close(set);
    syncline_reader_close(readers[1]);
    syncline_writer_close(talk.writer);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    every_wait(bus);
    descriptors(bus);
    sets(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
