/* Every kind of edge, and what goes with them: each function at its work. Prints "ok". */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The era that is being read was sealed for this reason. */
#define ERA_IS_BY(reader_, reason_) CHECK((IS(1, syncline_era_edge(reader_, &by)), by->reason == (reason_)))
static const struct syncline_edge *by;

static uint64_t now_ns(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What is on record of the last edge of a zone, as it is listed. */
static void listed_edge_is(syncline_bus *bus, const char *zone, const struct syncline_edge *expected) {
    syncline_listing *listing;
    const struct syncline_item *item;
    unsigned found = 0;
    IS(0, syncline_bus_list(bus, &listing));
    while (syncline_listing_next(listing, &item) == 1) {
        CHECK(item->kind == SYNCLINE_ZONE || item->last_edge == NULL);
        if (item->kind == SYNCLINE_ZONE && strcmp(item->name, zone) == 0) {
            const struct syncline_edge *edge = item->last_edge;
            CHECK(edge->era == item->generation && edge->era == expected->era && edge->time_ns == expected->time_ns);
            CHECK(edge->tag == expected->tag && edge->has_tag == expected->has_tag && edge->reason == expected->reason);
            CHECK(edge->straddler_count == expected->straddler_count);
            CHECK(edge->straddler_count == 0 || edge->straddlers[0] == expected->straddlers[0]);
            found++;
        }
    }
    CHECK(found == 1);
    syncline_listing_close(listing);
}

static void tags_and_straddlers(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "tags", "w"), *late = open_writer(bus, "tags", "late");
    syncline_lane lane = open_lane(writer, "bytes", NULL), of_late = open_lane(late, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "tags", "bytes", 1);
    const struct syncline_era *era;
    const struct syncline_edge *edge, *again;
    uint64_t before = now_ns() / 1000 * 1000, sealed = 0, tag = UINT64_MAX;
    say(writer, lane, 'a');
    IS(0, syncline_batch_begin(late));
    IS(0, syncline_batch_push(late, of_late, "b", 1));
    IS(0, syncline_writer_edge_tagged(writer, UINT64_C(0x123456789abcdef0), &sealed));
    CHECK(sealed == 1);
    IS(0, syncline_batch_commit(late));
    IS(1, syncline_writer_edge_info(writer, 1, &edge));
    CHECK(edge->era == 1 && edge->has_tag == 1 && edge->tag == UINT64_C(0x123456789abcdef0));
    CHECK(edge->reason == SYNCLINE_REASON_EXACT && strcmp(syncline_reason_name(edge->reason), "exact") == 0);
    CHECK(edge->straddler_count == 1 && edge->straddlers[0] == 1);
    CHECK(edge->time_ns >= before && edge->time_ns <= now_ns());
    listed_edge_is(bus, "tags", edge);
    IS(1, syncline_reader_try_era(reader, &era));
    IS(1, syncline_era_edge(reader, &again));
    CHECK(again != edge && again->era == 1 && again->tag == edge->tag && again->straddlers[0] == 1);
    era_has(reader, "a");

    IS(0, syncline_zone_edge(bus, "tags", &tag, &sealed));
    CHECK(sealed == 2);
    next_era_has(reader, 2, "b");
    IS(1, syncline_era_edge(reader, &edge));
    CHECK(edge->era == 2 && edge->has_tag == 1 && edge->tag == tag && edge->straddler_count == 0 && edge->straddlers == NULL);
    IS(0, syncline_zone_edge(bus, "tags", NULL, NULL));
    IS(1, syncline_reader_edge_info(reader, 3, &edge));
    CHECK(edge->era == 3 && edge->has_tag == 0 && edge->tag == 0);
    listed_edge_is(bus, "tags", edge);
    IS(0, syncline_reader_edge_info(reader, 4, &edge));
    CHECK(edge == NULL);
    syncline_reader_close(reader);
    syncline_writer_close(late);
    syncline_writer_close(writer);
}

static void policies(syncline_bus *bus) {
    struct syncline_zone_options options = {.size = sizeof options, .every_commits = 3, .eras = 8, .writers = 2};
    syncline_writer *writer = open_writer_in(bus, "commits", "w", &options);
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "commits", "bytes", 1);
    const struct syncline_era *era;
    for (const char *byte = "abcdefgh"; *byte; byte++) {
        say(writer, lane, *byte);
    }
    next_era_has(reader, 1, "abc");
    next_era_has(reader, 2, "def");
    ERA_IS_BY(reader, SYNCLINE_REASON_COMMITS);
    IS(0, syncline_reader_try_era(reader, &era));
    syncline_reader_close(reader);
    syncline_writer_close(writer);

    options = (struct syncline_zone_options){.size = sizeof options, .every_bytes = 2};
    writer = open_writer_in(bus, "bytes", "w", &options);
    lane = open_lane(writer, "bytes", NULL);
    reader = open_reader(bus, "bytes", "bytes", 1);
    for (const char *byte = "abcde"; *byte; byte++) {
        say(writer, lane, *byte);
    }
    next_era_has(reader, 1, "ab");
    next_era_has(reader, 2, "cd");
    ERA_IS_BY(reader, SYNCLINE_REASON_BYTES);
    IS(0, syncline_reader_try_era(reader, &era));
    syncline_reader_close(reader);
    syncline_writer_close(writer);

    options = (struct syncline_zone_options){.size = sizeof options, .click_ns = 1000000};
    writer = open_writer_in(bus, "clicks", "w", &options);
    reader = open_reader(bus, "clicks", "bytes", 1);
    for (int i = 0; i < 3; i++) { /* nobody asks for them */
        IS(1, syncline_reader_wait_era(reader, -1, &era));
        ERA_IS_BY(reader, SYNCLINE_REASON_CLICK);
    }
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

static void lockstep(syncline_bus *bus) {
    struct syncline_zone_options options = {
        .size = sizeof options, .pace = SYNCLINE_LOCKSTEP, .deadline_ns = UINT64_C(3600000000000)};
    syncline_writer *first = open_writer_in(bus, "lockstep", "first", &options), *second = open_writer(bus, "lockstep", "second");
    syncline_lane of_first = open_lane(first, "bytes", NULL), of_second = open_lane(second, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "lockstep", "bytes", 1);
    const struct syncline_era *era;
    uint64_t permitted = 0, generation;
    say(first, of_first, 'a');
    IS(0, syncline_writer_permit(first, &permitted));
    CHECK(permitted == 1);
    say(first, of_first, 'b'); /* after the permit: in the next era */
    IS(0, syncline_reader_try_era(reader, &era));
    say(second, of_second, 'c');
    IS(0, syncline_writer_permit(second, &permitted));
    CHECK(permitted == 1);
    next_era_has(reader, 1, "ac");
    ERA_IS_BY(reader, SYNCLINE_REASON_PERMITS);
    IS(0, syncline_writer_permit(second, NULL));
    IS(0, syncline_writer_permit(first, &permitted));
    CHECK(permitted == 2);
    next_era_has(reader, 2, "b");
    IS(0, syncline_writer_generation(first, &generation));
    CHECK(generation == 2);
    IS(0, syncline_writer_permit(first, NULL));
    IS(0, syncline_zone_edge(bus, "lockstep", NULL, &permitted)); /* nobody waits for the second */
    CHECK(permitted == 3);
    next_era_has(reader, 3, "");
    ERA_IS_BY(reader, SYNCLINE_REASON_DEADLINE);
    CHECK(by->straddler_count == 1 && by->straddlers[0] == 1);
    syncline_reader_close(reader);
    syncline_writer_close(second);
    syncline_writer_close(first);
}

static void hints(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "hints", "w"), *other = open_writer(bus, "hints", "other");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "hints", "bytes", 0);
    IS(0, syncline_writer_step(writer));
    IS(0, syncline_writer_request_early(other));
    IS(0, syncline_writer_early_requested(writer)); /* as of its last step */
    say(writer, lane, 'a');
    IS(1, syncline_writer_early_requested(writer));
    IS(0, syncline_writer_early_requested(writer));
    IS(0, syncline_writer_step(writer));
    IS(1, syncline_writer_step(other));
    IS(0, syncline_zone_request_early(bus, "hints"));
    IS(1, syncline_writer_step(writer));
    IS(0, syncline_writer_step(writer));
    IS(0, syncline_reader_request_early(reader));
    IS(0, syncline_batch_begin(writer));
    IS(1, syncline_writer_step(writer));
    IS(0, syncline_batch_commit(writer));
    syncline_reader_close(reader);
    syncline_writer_close(other);
    syncline_writer_close(writer);
}

static void done(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "done", "w");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *first = open_reader(bus, "done", "bytes", 1), *second = open_reader(bus, "done", "bytes", 1);
    const struct syncline_laggard *laggard;
    IS(0, syncline_detail_laggard(0, &laggard));
    say(writer, lane, 'a');
    IS(0, syncline_writer_edge(writer, NULL));
    FAILS(SYNCLINE_ELAGGARDS, syncline_writer_wait_done(writer, 1, 0), "reader `reader`");
    for (size_t i = 0; i < 2; i++) {
        IS(1, syncline_detail_laggard(i, &laggard));
        CHECK(strcmp(laggard->name, "reader") == 0 && laggard->pid == getpid() && laggard->taken == 0);
    }
    IS(0, syncline_detail_laggard(2, &laggard));
    CHECK(laggard == NULL);
    next_era_has(first, 1, "a");
    IS(0, syncline_era_end(first));
    IS(0, syncline_era_end(first));
    next_era_has(second, 1, "a"); /* read to its end, but not ended */
    IS(SYNCLINE_ELAGGARDS, syncline_zone_wait_done(bus, "done", 1, 1000000));
    IS(1, syncline_detail_laggard(0, &laggard));
    IS(0, syncline_detail_laggard(1, &laggard));
    IS(0, syncline_era_end(second));
    IS(0, syncline_zone_wait_done(bus, "done", 1, -1));
    IS(0, syncline_writer_wait_done(writer, 1, 0));
    IS(0, syncline_writer_edge(writer, NULL));
    syncline_reader_close(first);
    IS(SYNCLINE_ELAGGARDS, syncline_writer_wait_done(writer, 2, 0));
    IS(1, syncline_detail_laggard(0, &laggard));
    CHECK(laggard->taken == 1);
    IS(0, syncline_detail_laggard(1, &laggard));
    syncline_reader_close(second);
    IS(0, syncline_writer_wait_done(writer, 2, 0));
    syncline_writer_close(writer);
}

static void halts(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "halts", "w");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "halts", "bytes", 0);
    const struct syncline_message *message;
    const struct syncline_late *late = (const struct syncline_late *)1;
    syncline_halt *halt, *none;
    uint64_t version = 99;
    void *place;
    IS(0, syncline_writer_on_halt(writer, SYNCLINE_HALT_REFUSE));
    say(writer, lane, 'a');
    IS(0, syncline_zone_halt(bus, "halts", 1000000000, &halt));
    IS(1, syncline_halt_holds(halt));
    IS(0, syncline_halt_late(halt, 0, &late));
    CHECK(late == NULL);
    IS(SYNCLINE_EHALTED, syncline_writer_publish(writer, lane, "b", 1));
    IS(SYNCLINE_EHALTED, syncline_writer_edge(writer, NULL));
    IS(SYNCLINE_EHALTED, syncline_zone_edge(bus, "halts", NULL, NULL));
    IS(SYNCLINE_EHALTED, syncline_writer_step(writer));
    IS(SYNCLINE_EHALTED, syncline_writer_halt(writer, 0, &none));
    CHECK(none == NULL);
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, lane, "c", 1));
    IS(SYNCLINE_EHALTED, syncline_batch_commit(writer));
    IS(SYNCLINE_EINVALID, syncline_batch_commit(writer)); /* it is over */
    IS(0, syncline_writer_loan(writer, lane, 1, &place));
    IS(SYNCLINE_EHALTED, syncline_loan_publish(writer, 1));
    IS(SYNCLINE_EINVALID, syncline_loan_drop(writer));
    IS(0, syncline_reader_try(reader, &message));
    IS(0, syncline_halt_version(halt, 0, &version));
    CHECK(version == 1);
    IS(0, syncline_halt_version(halt, 63, &version));
    CHECK(version == 0);
    syncline_halt_release(halt);
    IS(1, syncline_reader_try(reader, &message));
    CHECK(*(const char *)message->data == 'a');
    say(writer, lane, 'd');
    IS(1, syncline_reader_try(reader, &message));
    CHECK(*(const char *)message->data == 'd' && message->sequence == 1);
    IS(0, syncline_writer_halt(writer, -1, &halt));
    syncline_halt_release(halt);
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

/* By default a writer waits for the end of a halt. It is in another process here. */
static void halts_others(syncline_bus *bus) {
    int ready[2], go[2], status = 1;
    char byte = 0;
    CHECK(pipe(ready) == 0 && pipe(go) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        bus = connect_bus(); /* the parent's is no use here */
        syncline_writer *writer = open_writer(bus, "halts others", "child");
        syncline_lane lane = open_lane(writer, "bytes", NULL);
        CHECK(write(ready[1], "r", 1) == 1 && read(go[0], &byte, 1) == 1);
        say(writer, lane, 'x');
        CHECK(write(ready[1], "d", 1) == 1);
        syncline_writer_close(writer);
        syncline_bus_close(bus);
        _exit(0);
    }
    syncline_reader *reader = open_reader(bus, "halts others", "bytes", 0);
    const struct syncline_message *message;
    syncline_halt *halt;
    uint64_t version;
    CHECK(read(ready[0], &byte, 1) == 1 && byte == 'r');
    IS(0, syncline_zone_halt(bus, "halts others", 1000000000, &halt));
    CHECK(write(go[1], "g", 1) == 1);
    for (int i = 0; i < 50; i++) { /* it has time to come to its publish */
        IS(0, syncline_reader_wait(reader, 1000000, &message));
        IS(0, syncline_halt_version(halt, 0, &version));
        CHECK(version == 0);
    }
    syncline_halt_release(halt);
    CHECK(read(ready[0], &byte, 1) == 1 && byte == 'd');
    IS(1, syncline_reader_wait(reader, -1, &message));
    CHECK(*(const char *)message->data == 'x' && message->pid == child);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    syncline_reader_close(reader);
    CHECK(close(ready[0]) == 0 && close(ready[1]) == 0 && close(go[0]) == 0 && close(go[1]) == 0);
}

/* A halt of before a fork: the child can neither see nor end it. */
static void halts_and_forks(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "forks", "w");
    const struct syncline_late *late;
    syncline_halt *halt, *none;
    uint64_t version;
    int status = 1;
    IS(0, syncline_writer_halt(writer, 1000000000, &halt));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        IS(SYNCLINE_EFORKED, syncline_halt_holds(halt));
        IS(SYNCLINE_EFORKED, syncline_halt_late(halt, 0, &late));
        IS(SYNCLINE_EFORKED, syncline_halt_version(halt, 0, &version));
        IS(SYNCLINE_EFORKED, syncline_zone_halt(bus, "forks", 0, &none));
        IS(SYNCLINE_EFORKED, syncline_writer_halt(writer, 0, &none));
        IS(SYNCLINE_EFORKED, syncline_writer_wait_done(writer, 1, 0));
        IS(SYNCLINE_EFORKED, syncline_zone_wait_done(bus, "forks", 1, 0));
        IS(SYNCLINE_EFORKED, syncline_writer_request_early(writer));
        IS(SYNCLINE_EFORKED, syncline_writer_early_requested(writer));
        IS(SYNCLINE_EFORKED, syncline_zone_request_early(bus, "forks"));
        IS(SYNCLINE_EFORKED, syncline_writer_step(writer));
        IS(SYNCLINE_EFORKED, syncline_writer_on_halt(writer, SYNCLINE_HALT_WAIT));
        IS(SYNCLINE_EFORKED, syncline_writer_permit(writer, NULL));
        syncline_halt_release(halt);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    IS(1, syncline_halt_holds(halt));
    IS(SYNCLINE_EHALTED, syncline_zone_halt(bus, "forks", 0, &none));
    syncline_halt_release(halt);
    IS(0, syncline_zone_halt(bus, "forks", 1000000000, &halt));
    syncline_halt_release(halt);
    syncline_writer_close(writer);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    tags_and_straddlers(bus);
    policies(bus);
    lockstep(bus);
    hints(bus);
    done(bus);
    halts(bus);
    halts_others(bus);
    halts_and_forks(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
