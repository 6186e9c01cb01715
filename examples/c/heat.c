/* A heat equation, split by domain over several processes that go in lockstep: heat PART PARTS ROUNDS
 *
 *     cc -std=c11 heat.c $(pkg-config --cflags --libs syncline) -o heat
 *
 * The same program as examples/heat.rs, which tells how it goes; parts in C and in Rust can be mixed, and the result is the same, bit
 * for bit. (Compiled as ISO C, so that the compiler does not contract a multiplication and an addition into one operation.) */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncline.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "heat: %s\n", syncline_detail()), exit(1)) : (void)0)
#define CELLS 96
#define LONG 60000000000

static const double alpha = 0.24;
static const double ends[2] = {1.0, -0.25};

struct border {
    uint32_t round, part;
    double first, last;
};

static const struct syncline_field border_fields[] = {
    SYNCLINE_FIELD(struct border, round, SYNCLINE_U32),
    SYNCLINE_FIELD(struct border, part, SYNCLINE_U32),
    SYNCLINE_FIELD(struct border, first, SYNCLINE_F64),
    SYNCLINE_FIELD(struct border, last, SYNCLINE_F64),
};
static const struct syncline_type border_type = SYNCLINE_TYPE(struct border, "heat.border", border_fields);

static void step(double *cells, size_t count, double left, double right) {
    double before = left;
    for (size_t i = 0; i < count; i++) {
        const double here = cells[i], after = i + 1 < count ? cells[i + 1] : right;
        cells[i] = here + alpha * (before - 2.0 * here + after);
        before = here;
    }
}

int main(int argc, char **argv) {
    const uint32_t part = argc == 4 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    const uint32_t parts = argc == 4 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    const uint32_t rounds = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    if (part >= parts || parts > CELLS) {
        fprintf(stderr, "usage: heat PART PARTS ROUNDS\n");
        return 2;
    }
    const size_t begin = part * CELLS / parts, count = (part + 1) * CELLS / parts - begin;
    double cells[CELLS];
    for (size_t i = 0; i < count; i++) {
        cells[i] = (double)((begin + i) * 37 % 101) / 101.0;
    }

    struct syncline_zone_options zone = {.size = sizeof zone, .pace = SYNCLINE_LOCKSTEP, .deadline_ns = LONG};
    struct syncline_writer_options writing = {
        .size = sizeof writing, .zone = "heat", .name = "part.c", .zone_options = &zone};
    syncline_bus *bus;
    syncline_writer *writer;
    syncline_reader *reader;
    syncline_lane borders;
    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_writer_open(bus, &writing, &writer));
    OR_DIE(syncline_lane_open(writer, "border", &border_type, NULL, &borders));
    const struct syncline_channel channel = {"border", &border_type};
    struct syncline_reader_options reading = {
        .size = sizeof reading, .zone = "heat", .name = "part.c", .channels = &channel, .channel_count = 1, .synced = 1};
    OR_DIE(syncline_reader_open(bus, &reading, &reader));
    /* Nobody gives a permit before all are there. */
    OR_DIE(syncline_bus_wait_readers(bus, "heat", "border", parts, LONG, NULL));

    for (uint32_t round = 0; round <= rounds; round++) {
        /* NEXT: what this part is now. */
        struct border border = {.round = round, .part = part, .first = cells[0], .last = cells[count - 1]};
        const struct syncline_message *message;
        const struct syncline_era *era;
        double left = ends[0], right = ends[1];
        uint32_t seen = 0;
        int got;
        OR_DIE(syncline_writer_publish(writer, borders, &border, sizeof border));
        OR_DIE(syncline_writer_permit(writer, NULL));
        /* CURR: what all were when the edge passed. */
        got = syncline_reader_wait_era(reader, LONG, &era);
        OR_DIE(got);
        while (got > 0 && (got = syncline_era_next(reader, &message)) > 0) {
            OR_DIE(syncline_message_copy(reader, &border, sizeof border));
            seen += border.round == round;
            if (border.part + 1 == part) {
                left = border.last;
            } else if (border.part == part + 1) {
                right = border.first;
            }
        }
        OR_DIE(got);
        if (seen != parts) {
            fprintf(stderr, "heat: round %" PRIu32 ": expected %" PRIu32 " parts, found %" PRIu32 "\n", round, parts, seen);
            return 1;
        }
        if (round < rounds) {
            step(cells, count, left, right);
        }
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &cells[i], sizeof bits);
        printf("%016" PRIx64 "\n", bits);
    }
    syncline_reader_close(reader);
    syncline_writer_close(writer);
    syncline_bus_close(bus);
    return 0;
}
