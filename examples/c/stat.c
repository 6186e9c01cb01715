/* Prints the counters of a zone: stat ZONE [SECONDS]
 * With SECONDS: then how fast its lanes went, so many times a second apart.
 *
 *     cc -std=c11 stat.c $(pkg-config --cflags --libs syncline) -o stat
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <syncline.h>
#include <time.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "stat: %s\n", syncline_detail()), exit(1)) : (void)0)

/* How many messages a lane has seen; 0 for one that is new. */
struct seen {
    uint64_t lane, messages;
};

static uint64_t messages_before(const struct seen *seen, size_t count, uint64_t lane) {
    for (size_t i = 0; i < count; i++) {
        if (seen[i].lane == lane) {
            return seen[i].messages;
        }
    }
    return 0;
}

/* Notes what the lanes have seen, at most `most` of them; how many. */
static size_t note(syncline_stats *stats, struct seen *seen, size_t most) {
    const struct syncline_lane_stats *lane;
    size_t count = 0;
    for (; count < most && syncline_stats_lane(stats, count, &lane) > 0; count++) {
        seen[count] = (struct seen){lane->lane, lane->messages};
    }
    return count;
}

static void print(syncline_stats *stats) {
    const struct syncline_writer_stats *writer;
    const struct syncline_lane_stats *lane;
    const struct syncline_reader_stats *reader;
    for (size_t i = 0; syncline_stats_writer(stats, i, &writer) > 0; i++) {
        printf("writer %" PRIu32 " (%s): %" PRIu64 " commits, %" PRIu64 " edges, %" PRIu64 " times without room\n", writer->writer,
               writer->name, writer->commits, writer->edges, writer->full);
    }
    for (size_t i = 0; syncline_stats_lane(stats, i, &lane) > 0; i++) {
        printf("%s of writer %" PRIu32 ": %" PRIu64 " messages, %" PRIu64 " of them in %" PRIu64 " of %" PRIu64 " bytes%s\n",
               lane->channel, lane->writer, lane->messages, lane->retained_messages, lane->retained_bytes, lane->capacity,
               lane->corrupt ? ", corrupt" : "");
    }
    for (size_t i = 0; syncline_stats_reader(stats, i, &reader) > 0; i++) {
        printf("%s in %s of writer %" PRIu32 ": %" PRIu64 " messages, %" PRIu64 " bytes behind%s\n", reader->name, reader->channel,
               reader->writer, reader->messages, reader->behind, reader->evicted ? ", evicted" : "");
    }
}

int main(int argc, char **argv) {
    const char *const zone = argc > 1 ? argv[1] : "plant";
    const long seconds = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    const struct syncline_zone_stats *read;
    const struct syncline_lane_stats *lane;
    struct seen seen[256];
    syncline_bus *bus;
    syncline_stats *stats;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_stats_open(bus, zone, &stats));
    OR_DIE(syncline_stats_read(stats, &read));
    printf("%s: %" PRIu64 " eras\n", read->zone, read->eras);
    print(stats);
    for (long second = 0; second < seconds; second++) {
        const uint64_t before_ns = read->time_ns;
        const size_t count = note(stats, seen, sizeof seen / sizeof seen[0]);
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        OR_DIE(syncline_stats_read(stats, &read));
        for (size_t i = 0; syncline_stats_lane(stats, i, &lane) > 0; i++) {
            const uint64_t messages = lane->messages - messages_before(seen, count, lane->lane);
            printf("%s of writer %" PRIu32 ": %.0f messages a second\n", lane->channel, lane->writer,
                   (double)messages * 1e9 / (double)(read->time_ns - before_ns));
        }
    }
    syncline_stats_close(stats);
    syncline_bus_close(bus);
    return 0;
}
