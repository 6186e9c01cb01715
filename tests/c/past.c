/* Where a reader can be: at an era that it names, back, forth; and live with the edges among the messages. Prints "ok". */
#include "check.h"

#include <unistd.h>

/* Opens a reader of "bytes" that starts with an era; its result. */
static int open_at(syncline_bus *bus, const char *zone, uint64_t era, syncline_reader **reader) {
    struct syncline_channel channel = {"bytes", NULL};
    struct syncline_reader_options options = {.size = sizeof options, .zone = zone, .name = "reader", .channels = &channel,
                                              .channel_count = 1, .synced = 1, .start_era = era};
    return syncline_reader_open(bus, &options, reader);
}

/* Opens a live reader with markers, or one that is told of hints. */
static syncline_reader *open_live(syncline_bus *bus, const char *zone, uint32_t markers, uint32_t early) {
    struct syncline_channel channel = {"bytes", NULL};
    struct syncline_reader_options options = {.size = sizeof options, .zone = zone, .name = "live", .channels = &channel,
                                              .channel_count = 1, .markers = markers, .early = early};
    syncline_reader *reader;
    IS(0, syncline_reader_open(bus, &options, &reader));
    return reader;
}

/* What the last SYNCLINE_EGONE said. */
static void gone_says(uint64_t oldest, uint64_t generation) {
    uint64_t found_oldest = 99, found_generation = 99;
    IS(1, syncline_detail_gone(&found_oldest, &found_generation));
    CHECK(found_oldest == oldest && found_generation == generation);
    IS(1, syncline_detail_gone(NULL, NULL));
}

static void rewinding(syncline_bus *bus) {
    struct syncline_zone_options options = {.size = sizeof options, .eras = 8};
    syncline_writer *writer = open_writer_in(bus, "rewinding", "w", &options);
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "rewinding", "bytes", 1), *late;
    const struct syncline_era *era;
    const struct syncline_edge *edge;
    const struct syncline_message *message;
    uint64_t oldest = 99, generation = 99;
    IS(0, syncline_detail_gone(&oldest, &generation)); /* nothing has failed */
    CHECK(oldest == 0 && generation == 0);
    for (char byte = 'a'; byte <= 'd'; byte++) {
        say(writer, lane, byte);
        IS(0, syncline_writer_edge_tagged(writer, (uint64_t)byte, NULL));
    }
    for (uint64_t number = 1; number <= 4; number++) {
        const char bytes[] = {(char)('a' + (char)number - 1), 0};
        next_era_has(reader, number, bytes);
    }
    IS(0, syncline_reader_rewind(reader, 2));
    next_era_has(reader, 2, "b");
    IS(1, syncline_era_edge(reader, &edge));
    CHECK(edge->era == 2 && edge->tag == 'b');
    IS(1, syncline_era_previous(reader, &era));
    CHECK(era->number == 1);
    IS(1, syncline_era_next(reader, &message));
    CHECK(*(const char *)message->data == 'a' && message->sequence == 0 && message->era == 1);
    FAILS(SYNCLINE_EGONE, syncline_era_previous(reader, &era), "era 0");
    CHECK(era == NULL);
    gone_says(1, 4);
    IS(SYNCLINE_EINVALID, syncline_era_previous(reader, &era)); /* the era has ended */
    IS(0, syncline_detail_gone(&oldest, NULL));
    next_era_has(reader, 2, "b");
    IS(1, syncline_era_previous(reader, &era));
    IS(0, syncline_era_end(reader));
    IS(0, syncline_reader_rewind(reader, 5)); /* the one that is open */
    IS(0, syncline_reader_try_era(reader, &era));
    FAILS(SYNCLINE_EGONE, syncline_reader_rewind(reader, 6), "era 6");
    gone_says(1, 4);
    IS(SYNCLINE_EGONE, syncline_reader_rewind(reader, 0));
    IS(SYNCLINE_EGONE, syncline_reader_rewind(reader, UINT64_MAX));
    say(writer, lane, 'e');
    IS(0, syncline_writer_edge(writer, NULL));
    next_era_has(reader, 5, "e"); /* it was where it was */

    IS(0, open_at(bus, "rewinding", 3, &late));
    next_era_has(late, 3, "c");
    next_era_has(late, 4, "d");
    syncline_reader_close(late);
    FAILS(SYNCLINE_EGONE, open_at(bus, "rewinding", 7, &late), "era 7");
    CHECK(late == NULL);
    gone_says(1, 5);
    for (int i = 0; i < 20; i++) { /* the zone remembers eight */
        IS(0, syncline_writer_edge(writer, NULL));
    }
    IS(SYNCLINE_EGONE, open_at(bus, "rewinding", 3, &late));
    IS(1, syncline_detail_gone(&oldest, &generation));
    CHECK(generation == 25 && oldest > 25 - 8 && oldest <= 25);
    IS(0, open_at(bus, "rewinding", oldest, &late));
    next_era_has(late, oldest, "");
    syncline_reader_close(late);
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

/* What a writer that has gone published is to be had while the zone keeps it. */
static void keeping(syncline_bus *bus) {
    struct syncline_zone_options options = {.size = sizeof options, .keep_eras = 2, .keep_bytes = 4000};
    syncline_writer *stays = open_writer_in(bus, "keeping", "stays", &options), *goes = open_writer(bus, "keeping", "goes");
    syncline_lane lane = open_lane(goes, "bytes", NULL);
    const struct syncline_era *era;
    syncline_reader *reader;
    say(goes, lane, 'x');
    IS(0, syncline_writer_edge(goes, NULL));
    syncline_writer_close(goes);
    IS(0, open_at(bus, "keeping", 1, &reader));
    next_era_has(reader, 1, "x");
    IS(SYNCLINE_ECLOSED, syncline_reader_try_era(reader, &era));
    IS(0, syncline_reader_rewind(reader, 1));
    next_era_has(reader, 1, "x");
    syncline_reader_close(reader);
    syncline_writer_close(stays);
}

/* The next is a message with this byte (`edge` 0), or the edge of this era. */
static void next_is(syncline_reader *reader, char byte, uint64_t era) {
    const struct syncline_message *message;
    const struct syncline_edge *edge;
    IS(1, syncline_reader_wait_live(reader, -1, &message, &edge));
    if (era == 0) {
        CHECK(edge == NULL && message->len == 1 && *(const char *)message->data == byte && message->era == 0);
        CHECK(message->pid == getpid());
    } else {
        CHECK(message == NULL && edge->era == era && edge->has_tag == 1 && edge->tag == (uint64_t)byte);
    }
}

static void markers(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "markers", "w");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_live(bus, "markers", 1, 0);
    const struct syncline_message *message = (const struct syncline_message *)1;
    const struct syncline_edge *edge = (const struct syncline_edge *)1;
    struct syncline_laggard const *laggard;
    char byte;
    IS(0, syncline_reader_try_live(reader, &message, &edge));
    CHECK(message == NULL && edge == NULL);
    say(writer, lane, 'a');
    say(writer, lane, 'b');
    IS(1, syncline_reader_try_live(reader, &message, &edge)); /* before its edge */
    CHECK(edge == NULL && *(const char *)message->data == 'a');
    IS(0, syncline_message_copy(reader, &byte, 1));
    CHECK(byte == 'a');
    IS(0, syncline_writer_edge_tagged(writer, '1', NULL));
    IS(0, syncline_writer_edge_tagged(writer, '2', NULL));
    say(writer, lane, 'c');
    next_is(reader, 'b', 0);
    IS(SYNCLINE_ELAGGARDS, syncline_writer_wait_done(writer, 1, 0));
    IS(1, syncline_detail_laggard(0, &laggard));
    CHECK(strcmp(laggard->name, "live") == 0);
    next_is(reader, '1', 1);
    IS(0, syncline_writer_wait_done(writer, 1, 0));
    next_is(reader, '2', 2);
    next_is(reader, 'c', 0);
    IS(0, syncline_reader_wait_live(reader, 1000000, &message, &edge));
    CHECK(message == NULL && edge == NULL);
    IS(SYNCLINE_EINVALID, syncline_message_copy(reader, &byte, 1)); /* the next call has released it */
    FAILS(SYNCLINE_EINVALID, syncline_reader_try(reader, &message), "markers");
    FAILS(SYNCLINE_EINVALID, syncline_era_edge(reader, &edge), "live");
    syncline_writer_close(writer); /* the broker seals what is left: there is an edge for 'c' */
    int result;
    unsigned edges = 0;
    while ((result = syncline_reader_wait_live(reader, -1, &message, &edge)) == 1) {
        CHECK(message == NULL && edge->era == 3 && edge->reason == SYNCLINE_REASON_REST && edge->has_tag == 0);
        edges++;
    }
    CHECK(result == SYNCLINE_ECLOSED && edges <= 1);
    syncline_reader_close(reader);
}

/* What a reader with markers has taken makes room: through a small ring several times over. */
static void room(syncline_bus *bus) {
    static const char bytes[500];
    struct syncline_lane_options small = {.size = sizeof small, .capacity = 4096};
    syncline_writer *writer = open_writer(bus, "room", "w");
    syncline_reader *reader = open_live(bus, "room", 1, 0);
    const struct syncline_message *message;
    const struct syncline_edge *edge;
    syncline_lane lane;
    IS(0, syncline_lane_open(writer, "bytes", NULL, &small, &lane));
    for (uint64_t number = 0; number < 50; number++) {
        IS(0, syncline_writer_publish(writer, lane, bytes, sizeof bytes));
        IS(0, syncline_writer_edge(writer, NULL));
        IS(1, syncline_reader_try_live(reader, &message, &edge));
        CHECK(edge == NULL && message->sequence == number && message->len == sizeof bytes);
        IS(1, syncline_reader_try_live(reader, &message, &edge));
        CHECK(message == NULL && edge->era == number + 1);
    }
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

static void hints(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "told", "w");
    syncline_reader *told = open_live(bus, "told", 0, 1), *marked = open_live(bus, "told", 1, 1), *untold = open_live(bus, "told", 0, 0);
    const struct syncline_message *message;
    const struct syncline_edge *edge;
    IS(0, syncline_writer_request_early(writer));
    FAILS(SYNCLINE_EEARLY, syncline_reader_wait(told, -1, &message), "commit now");
    CHECK(message == NULL);
    IS(SYNCLINE_EEARLY, syncline_reader_wait_live(marked, -1, &message, &edge));
    IS(0, syncline_reader_wait(told, 1000000, &message)); /* told once */
    IS(0, syncline_reader_wait(untold, 1000000, &message));
    IS(0, syncline_zone_request_early(bus, "told"));
    IS(SYNCLINE_EEARLY, syncline_reader_spin(told, -1, &message));
    syncline_reader_close(untold);
    syncline_reader_close(marked);
    syncline_reader_close(told);
    syncline_writer_close(writer);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    rewinding(bus);
    keeping(bus);
    markers(bus);
    room(bus);
    hints(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
