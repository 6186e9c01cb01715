/* Checks for the C tests: what fails is said with its line, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncline.h>

#define CHECK(condition) \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #condition, syncline_detail()), exit(1)))

/* The call returns this. */
#define IS(expected, call) is(expected, call, #call, __FILE__, __LINE__)

/* The call fails with this code, and its detail has this in it. */
#define FAILS(expected, call, part) fails(expected, call, part, #call, __FILE__, __LINE__)

static inline void is(int expected, int found, const char *call, const char *file, int line) {
    if (found != expected) {
        fprintf(stderr, "%s:%d: %s: expected %d, found %d (%s): %s\n", file, line, call, expected, found,
                syncline_strerror(found), syncline_detail());
        exit(1);
    }
}

static inline void fails(int expected, int found, const char *part, const char *call, const char *file, int line) {
    is(expected, found, call, file, line);
    if (strstr(syncline_detail(), part) == NULL) {
        fprintf(stderr, "%s:%d: %s: expected \"%s\" in: %s\n", file, line, call, part, syncline_detail());
        exit(1);
    }
}

struct sample {
    uint64_t number;
    float value[3];
    uint32_t flags;
};

static const struct syncline_field sample_fields[] = {
    SYNCLINE_FIELD(struct sample, number, SYNCLINE_U64),
    SYNCLINE_FIELD(struct sample, value, SYNCLINE_F32),
    SYNCLINE_FIELD(struct sample, flags, SYNCLINE_U32),
};

static inline syncline_bus *connect_bus(void) {
    syncline_bus *bus;
    IS(0, syncline_bus_connect(NULL, &bus));
    return bus;
}

static inline syncline_writer *open_writer(syncline_bus *bus, const char *zone, const char *name) {
    struct syncline_writer_options options = {.size = sizeof options, .zone = zone, .name = name};
    syncline_writer *writer;
    IS(0, syncline_writer_open(bus, &options, &writer));
    return writer;
}

/* A writer in a zone that is made like this. */
static inline syncline_writer *open_writer_in(syncline_bus *bus, const char *zone, const char *name,
                                              const struct syncline_zone_options *zone_options) {
    struct syncline_writer_options options = {.size = sizeof options, .zone = zone, .name = name, .zone_options = zone_options};
    syncline_writer *writer;
    IS(0, syncline_writer_open(bus, &options, &writer));
    return writer;
}

static inline syncline_lane open_lane(syncline_writer *writer, const char *channel, const struct syncline_type *type) {
    syncline_lane lane;
    IS(0, syncline_lane_open(writer, channel, type, NULL, &lane));
    return lane;
}

static inline syncline_reader *open_reader(syncline_bus *bus, const char *zone, const char *channel, uint32_t synced) {
    struct syncline_channel channels = {channel, NULL};
    struct syncline_reader_options options = {.size = sizeof options, .zone = zone, .name = "reader", .channels = &channels,
                                              .channel_count = 1, .synced = synced, .oldest = 1};
    syncline_reader *reader;
    IS(0, syncline_reader_open(bus, &options, &reader));
    return reader;
}

/* Publishes one byte. */
static inline void say(syncline_writer *writer, syncline_lane lane, char byte) {
    IS(0, syncline_writer_publish(writer, lane, &byte, 1));
}

/* The messages of the era begun are these bytes. */
static inline void era_has(syncline_reader *reader, const char *bytes) {
    const struct syncline_message *message;
    for (; *bytes; bytes++) {
        IS(1, syncline_era_next(reader, &message));
        CHECK(message->len == 1 && *(const char *)message->data == *bytes);
    }
    IS(0, syncline_era_next(reader, &message));
}

/* The next era is sealed already, has this number and these bytes. */
static inline void next_era_has(syncline_reader *reader, uint64_t number, const char *bytes) {
    const struct syncline_era *era;
    IS(1, syncline_reader_try_era(reader, &era));
    CHECK(era->number == number && era->merged == 0);
    era_has(reader, bytes);
}

#endif
