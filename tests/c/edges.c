/* Every kind of edge, and what goes with them: each function at its work. Prints "ok". */
#include "check.h"

/* Publishes one byte. */
static void say(syncline_writer *writer, syncline_lane lane, char byte) {
    IS(0, syncline_writer_publish(writer, lane, &byte, 1));
}

/* The messages of the era begun are these bytes. */
static void era_has(syncline_reader *reader, const char *bytes) {
    const struct syncline_message *message;
    for (; *bytes; bytes++) {
        IS(1, syncline_era_next(reader, &message));
        CHECK(message->len == 1 && *(const char *)message->data == *bytes);
    }
    IS(0, syncline_era_next(reader, &message));
}

/* The next era is sealed already, has this number and these bytes. */
static void next_era_has(syncline_reader *reader, uint64_t number, const char *bytes) {
    const struct syncline_era *era;
    IS(1, syncline_reader_try_era(reader, &era));
    CHECK(era->number == number && era->merged == 0);
    era_has(reader, bytes);
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
    IS(0, syncline_reader_try_era(reader, &era));
    syncline_reader_close(reader);
    syncline_writer_close(writer);

    options = (struct syncline_zone_options){.size = sizeof options, .click_ns = 1000000};
    writer = open_writer_in(bus, "clicks", "w", &options);
    reader = open_reader(bus, "clicks", "bytes", 1);
    for (int i = 0; i < 3; i++) { /* nobody asks for them */
        IS(1, syncline_reader_wait_era(reader, -1, &era));
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
    IS(0, syncline_writer_permit(second, NULL));
    IS(0, syncline_writer_permit(first, &permitted));
    CHECK(permitted == 2);
    next_era_has(reader, 2, "b");
    IS(0, syncline_writer_generation(first, &generation));
    CHECK(generation == 2);
    syncline_reader_close(reader);
    syncline_writer_close(second);
    syncline_writer_close(first);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    policies(bus);
    lockstep(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
