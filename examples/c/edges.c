/* Edges of every kind, by one program: a zone whose edges come by themselves, an edge with a tag, eras read once more, and a zone that
 * stands still for a moment.
 *
 *     cc -std=c11 edges.c $(pkg-config --cflags --libs syncline) -o edges
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <syncline.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "edges: %s\n", syncline_detail()), exit(1)) : (void)0)

static const struct syncline_type level_type = SYNCLINE_TYPE_PLAIN(uint32_t, "u32");

/* Prints the era that is being read: why its edge passed, its tag, its messages. */
static void print_era(syncline_reader *reader, const struct syncline_era *era) {
    const struct syncline_edge *edge;
    const struct syncline_message *message;
    int got = syncline_era_edge(reader, &edge);
    OR_DIE(got);
    printf("era %" PRIu64, era->number);
    if (got == 1) { /* else the zone has forgotten */
        printf(" (%s)", syncline_reason_name(edge->reason));
        if (edge->has_tag) {
            printf(" tag %#" PRIx64, edge->tag);
        }
    }
    printf(":");
    while ((got = syncline_era_next(reader, &message)) > 0) {
        uint32_t level;
        OR_DIE(syncline_message_copy(reader, &level, sizeof level));
        printf(" %" PRIu32, level);
    }
    OR_DIE(got);
    printf("\n");
}

static void print_eras(syncline_reader *reader) {
    const struct syncline_era *era;
    int got;
    while ((got = syncline_reader_try_era(reader, &era)) > 0) {
        print_era(reader, era);
    }
    OR_DIE(got);
    OR_DIE(syncline_era_end(reader)); /* done with the last one, too */
}

int main(void) {
    /* An edge after every fourth commit of a writer, and one whenever somebody asks. Its lanes hold 64 KiB of the past. */
    const struct syncline_zone_options zone = {.size = sizeof zone, .every_commits = 4, .keep_bytes = 65536};
    const struct syncline_channel channel = {"level", &level_type};
    const struct syncline_writer_options writer_options = {.size = sizeof writer_options, .zone = "tank", .name = "edges.c"};
    const struct syncline_reader_options reader_options = {
        .size = sizeof reader_options, .zone = "tank", .name = "edges.c", .channels = &channel, .channel_count = 1, .synced = 1};
    syncline_bus *bus;
    syncline_writer *writer;
    syncline_reader *reader;
    syncline_halt *halt;
    syncline_lane lane;
    const struct syncline_era *era;
    const struct syncline_late *late;
    uint64_t tagged, oldest, generation;
    uint32_t level;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_zone_create(bus, "tank", &zone));
    OR_DIE(syncline_writer_open(bus, &writer_options, &writer));
    OR_DIE(syncline_lane_open(writer, "level", &level_type, NULL, &lane));
    OR_DIE(syncline_reader_open(bus, &reader_options, &reader));

    for (level = 1; level <= 10; level++) {
        OR_DIE(syncline_writer_publish(writer, lane, &level, sizeof level));
    }
    OR_DIE(syncline_writer_edge_tagged(writer, 0xc0ffee, &tagged));
    print_eras(reader);
    OR_DIE(syncline_writer_wait_done(writer, tagged, -1));

    printf("once more, from the second:\n");
    OR_DIE(syncline_reader_rewind(reader, 2));
    OR_DIE(syncline_reader_try_era(reader, &era));
    print_era(reader, era);
    printf("and the one before:\n");
    OR_DIE(syncline_era_previous(reader, &era));
    print_era(reader, era);
    if (syncline_reader_rewind(reader, 1000) == SYNCLINE_EGONE && syncline_detail_gone(&oldest, &generation) == 1) {
        printf("era 1000 is not to be had, but %" PRIu64 " to %" PRIu64 "\n", oldest, generation);
    }

    OR_DIE(syncline_writer_on_halt(writer, SYNCLINE_HALT_REFUSE)); /* this thread is to release it: do not wait here */
    OR_DIE(syncline_zone_halt(bus, "tank", 10000000, &halt));
    for (size_t i = 0; syncline_halt_late(halt, i, &late) > 0; i++) {
        printf("writer %" PRIu32 " (%s) is late\n", late->writer, late->name);
    }
    if (syncline_writer_publish(writer, lane, &level, sizeof level) == SYNCLINE_EHALTED) {
        printf("halted\n");
    }
    syncline_halt_release(halt);
    OR_DIE(syncline_writer_publish(writer, lane, &level, sizeof level));
    OR_DIE(syncline_writer_edge(writer, NULL));
    OR_DIE(syncline_reader_rewind(reader, tagged + 1));
    print_eras(reader);

    syncline_reader_close(reader);
    syncline_writer_close(writer);
    OR_DIE(syncline_zone_remove(bus, "tank"));
    syncline_bus_close(bus);
    return 0;
}
