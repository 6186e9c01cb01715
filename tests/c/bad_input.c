/* Every kind of misuse is an error with a detail, and nothing else is the worse for it. Prints "ok". */
#include "check.h"

static const struct syncline_type sample_type = SYNCLINE_TYPE(struct sample, "test.sample", sample_fields);

static void library(void) {
    CHECK(syncline_abi_version() == SYNCLINE_ABI_VERSION);
    CHECK(strlen(syncline_version()) >= 5);
    CHECK(strcmp(syncline_detail(), "") == 0);
    for (int code = SYNCLINE_OK; code >= SYNCLINE_EOVERTAKEN; code--) {
        CHECK(strlen(syncline_strerror(code)) > 0 && strcmp(syncline_strerror(code), "unknown error") != 0);
    }
    CHECK(strcmp(syncline_strerror(-1000), "unknown error") == 0);
    CHECK(strcmp(syncline_strerror(1), "unknown error") == 0);
}

static void connecting(void) {
    syncline_bus *bus = (syncline_bus *)1;
    FAILS(SYNCLINE_EVERSION, syncline_bus_connect_abi(SYNCLINE_ABI_VERSION + 1, NULL, &bus), "interface 5");
    CHECK(bus == NULL);
    FAILS(SYNCLINE_EVERSION, syncline_bus_connect_abi(0, NULL, &bus), "interface 0");
    FAILS(SYNCLINE_EINVALID, syncline_bus_connect(NULL, NULL), "bus");
    FAILS(SYNCLINE_ENOBROKER, syncline_bus_connect("/nonexistent/broker.sock", &bus), "/nonexistent/broker.sock");
    CHECK(syncline_bus_connect("/etc/passwd", &bus) < 0 && bus == NULL);
    CHECK(syncline_bus_connect("", &bus) < 0 && bus == NULL);
    CHECK(syncline_bus_socket(NULL) == NULL);
}

static void null_handles(syncline_bus *bus) {
    const struct syncline_message *message;
    const struct syncline_era *era;
    const struct syncline_closed *closed;
    const struct syncline_item *item;
    const struct syncline_presence *event;
    const struct syncline_edge *edge;
    const struct syncline_late *late;
    const struct syncline_sleeps *sleeps;
    syncline_halt *halt;
    int descriptor;
    void *place;
    uint64_t number;
    uint32_t row;
    size_t lanes;
    syncline_lane lane;
    IS(SYNCLINE_EINVALID, syncline_writer_open(NULL, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_open(bus, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_lane_open(NULL, "x", NULL, NULL, &lane));
    FAILS(SYNCLINE_EINVALID, syncline_writer_publish(NULL, 0, "x", 1), "writer");
    IS(SYNCLINE_EINVALID, syncline_writer_loan(NULL, 0, 1, &place));
    IS(SYNCLINE_EINVALID, syncline_loan_publish(NULL, 1));
    IS(SYNCLINE_EINVALID, syncline_loan_drop(NULL));
    IS(SYNCLINE_EINVALID, syncline_batch_begin(NULL));
    IS(SYNCLINE_EINVALID, syncline_batch_push(NULL, 0, "x", 1));
    IS(SYNCLINE_EINVALID, syncline_batch_commit(NULL));
    IS(SYNCLINE_EINVALID, syncline_batch_roll_back(NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_edge(NULL, &number));
    IS(SYNCLINE_EINVALID, syncline_writer_edge_tagged(NULL, 1, &number));
    IS(SYNCLINE_EINVALID, syncline_writer_edge_info(NULL, 1, &edge));
    IS(SYNCLINE_EINVALID, syncline_writer_permit(NULL, &number));
    IS(SYNCLINE_EINVALID, syncline_zone_create(NULL, "x", NULL));
    IS(SYNCLINE_EINVALID, syncline_zone_create(bus, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_zone_remove(NULL, "x"));
    IS(SYNCLINE_EINVALID, syncline_zone_remove(bus, NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_roll_back_era(NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_wait_done(NULL, 1, 0));
    IS(SYNCLINE_EINVALID, syncline_writer_request_early(NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_early_requested(NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_step(NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_on_halt(NULL, 0));
    IS(SYNCLINE_EINVALID, syncline_writer_halt(NULL, 0, &halt));
    IS(SYNCLINE_EINVALID, syncline_zone_halt(NULL, "x", 0, &halt));
    IS(SYNCLINE_EINVALID, syncline_zone_halt(bus, NULL, 0, &halt));
    IS(SYNCLINE_EINVALID, syncline_zone_halt(bus, "x", 0, NULL));
    IS(SYNCLINE_EINVALID, syncline_halt_late(NULL, 0, &late));
    IS(SYNCLINE_EINVALID, syncline_halt_holds(NULL));
    IS(SYNCLINE_EINVALID, syncline_halt_version(NULL, 0, &number));
    IS(SYNCLINE_EINVALID, syncline_zone_request_early(NULL, "x"));
    IS(SYNCLINE_EINVALID, syncline_zone_request_early(bus, NULL));
    IS(SYNCLINE_EINVALID, syncline_zone_wait_done(NULL, "x", 1, 0));
    IS(SYNCLINE_EINVALID, syncline_zone_wait_done(bus, NULL, 1, 0));
    FAILS(SYNCLINE_EINVALID, syncline_detail_laggard(0, NULL), "laggard");
    IS(SYNCLINE_EINVALID, syncline_era_end(NULL));
    IS(SYNCLINE_EINVALID, syncline_era_previous(NULL, &era));
    IS(SYNCLINE_EINVALID, syncline_reader_rewind(NULL, 1));
    IS(SYNCLINE_EINVALID, syncline_reader_try_live(NULL, &message, &edge));
    IS(SYNCLINE_EINVALID, syncline_reader_wait_live(NULL, 0, &message, &edge));
    FAILS(SYNCLINE_EINVALID, syncline_detail_gone((uint64_t *)1, NULL), "oldest");
    IS(SYNCLINE_EINVALID, syncline_reader_request_early(NULL));
    IS(SYNCLINE_EINVALID, syncline_zone_edge(NULL, "x", NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_zone_edge(bus, NULL, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_writer_set_room_timeout(NULL, 0));
    IS(SYNCLINE_EINVALID, syncline_writer_generation(NULL, &number));
    IS(SYNCLINE_EINVALID, syncline_writer_row(NULL, &row));
    IS(SYNCLINE_EINVALID, syncline_reader_open(bus, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_reader_try(NULL, &message));
    IS(SYNCLINE_EINVALID, syncline_reader_spin(NULL, 0, &message));
    IS(SYNCLINE_EINVALID, syncline_reader_wait(NULL, 0, &message));
    IS(SYNCLINE_EINVALID, syncline_reader_try_era(NULL, &era));
    IS(SYNCLINE_EINVALID, syncline_reader_spin_era(NULL, 0, &era));
    IS(SYNCLINE_EINVALID, syncline_reader_wait_era(NULL, 0, &era));
    IS(SYNCLINE_EINVALID, syncline_era_next(NULL, &message));
    IS(SYNCLINE_EINVALID, syncline_era_edge(NULL, &edge));
    IS(SYNCLINE_EINVALID, syncline_reader_edge_info(NULL, 1, &edge));
    IS(SYNCLINE_EINVALID, syncline_message_copy(NULL, &number, sizeof number));
    IS(SYNCLINE_EINVALID, syncline_message_era(NULL, &number));
    IS(SYNCLINE_EINVALID, syncline_reader_release(NULL));
    IS(SYNCLINE_EINVALID, syncline_reader_closed(NULL, &closed));
    IS(SYNCLINE_EINVALID, syncline_reader_lanes(NULL, &lanes));
    IS(SYNCLINE_EINVALID, syncline_reader_generation(NULL, &number));
    IS(SYNCLINE_EINVALID, syncline_reader_set_wait(NULL, 0, 0));
    IS(SYNCLINE_EINVALID, syncline_writer_set_room_wait(NULL, 0, 0));
    IS(SYNCLINE_EINVALID, syncline_reader_sleeps(NULL, &sleeps));
    IS(SYNCLINE_EINVALID, syncline_reader_pollable(NULL, &descriptor));
    IS(SYNCLINE_EINVALID, syncline_wait_set_open(NULL));
    FAILS(SYNCLINE_EINVALID, syncline_wait_set_set_wait(NULL, 0, 0), "wait set");
    IS(SYNCLINE_EINVALID, syncline_wait_set_add_reader(NULL, 0, NULL));
    IS(SYNCLINE_EINVALID, syncline_wait_set_remove_reader(NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_wait_set_add_fd(NULL, 0, 0));
    IS(SYNCLINE_EINVALID, syncline_wait_set_remove_fd(NULL, 0));
    IS(SYNCLINE_EINVALID, syncline_wait_set_wait(NULL, 0, &number, 1));
    IS(SYNCLINE_EINVALID, syncline_wait_set_pollable(NULL, &descriptor));
    syncline_wait_set_close(NULL);
    IS(SYNCLINE_EINVALID, syncline_bus_list(bus, NULL));
    IS(SYNCLINE_EINVALID, syncline_listing_next(NULL, &item));
    IS(SYNCLINE_EINVALID, syncline_bus_watch(NULL, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_watch_next(NULL, 0, &event));
    IS(SYNCLINE_EINVALID, syncline_bus_wait_readers(bus, NULL, "x", 1, 0, NULL));
    syncline_writer_close(NULL);
    syncline_reader_close(NULL);
    syncline_listing_close(NULL);
    syncline_watch_close(NULL);
    syncline_halt_release(NULL);
    syncline_bus_close(NULL);
}

static void options(syncline_bus *bus) {
    struct {
        struct syncline_writer_options known;
        uint64_t unknown;
    } later = {{.size = sizeof later, .zone = "options", .name = "later"}, 0};
    struct syncline_writer_options earlier = {.size = offsetof(struct syncline_writer_options, zone_writers), .zone = "options",
                                              .name = "earlier", .zone_writers = 1000000};
    syncline_writer *writer;
    IS(0, syncline_writer_open(bus, &later.known, &writer));
    syncline_writer_close(writer);
    later.unknown = 1;
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &later.known, &writer), "must be zero");
    CHECK(writer == NULL);
    IS(0, syncline_writer_open(bus, &earlier, &writer)); /* what it does not know is not looked at */
    syncline_writer_close(writer);
    earlier.size = 0;
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &earlier, &writer), "sizeof(struct syncline_writer_options)");
    earlier.size = (size_t)-1;
    IS(SYNCLINE_EINVALID, syncline_writer_open(bus, &earlier, &writer));
    earlier.size = sizeof earlier;
    CHECK(syncline_writer_open(bus, &earlier, &writer) < 0 && writer == NULL); /* a million writers */
}

static void zone_options(syncline_bus *bus) {
    struct syncline_zone_options zone = {.size = sizeof zone, .pace = 4};
    struct syncline_writer_options options = {.size = sizeof options, .zone = "zone options", .name = "w", .zone_options = &zone};
    syncline_writer *writer, *none;
    uint64_t tag = 1;
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "no pace has the number 4");
    zone = (struct syncline_zone_options){.size = 1};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "sizeof(struct syncline_zone_options)");
    zone = (struct syncline_zone_options){.size = sizeof zone, .zero = 1};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "`zero`");
    zone = (struct syncline_zone_options){.size = sizeof zone, .eras = 5};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "5");
    zone = (struct syncline_zone_options){.size = sizeof zone, .pace = SYNCLINE_LOCKSTEP, .click_ns = 1000000};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "lockstep");
    zone = (struct syncline_zone_options){.size = sizeof zone, .deadline_ns = 1000000};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "deadline");
    zone = (struct syncline_zone_options){.size = sizeof zone, .eras = 8, .keep_eras = 7};
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "at most 6 eras to keep");
    zone = (struct syncline_zone_options){.size = sizeof zone, .keep_bytes = UINT64_MAX};
    IS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer));
    CHECK(writer == NULL);
    zone = (struct syncline_zone_options){.size = sizeof zone, .every_commits = 10};
    options.zone_writers = 64;
    FAILS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &writer), "beside zone_options");
    options.zone_writers = 0;
    IS(0, syncline_writer_open(bus, &options, &writer));
    zone.every_commits = 11;
    FAILS(SYNCLINE_EMISMATCH, syncline_writer_open(bus, &options, &none), "10");
    zone.every_commits = 0;
    IS(0, syncline_writer_open(bus, &options, &none)); /* whatever it has */
    FAILS(SYNCLINE_EINVALID, syncline_writer_permit(none, NULL), "lockstep");
    FAILS(SYNCLINE_EINVALID, syncline_writer_roll_back_era(none), "revocable");
    zone.every_commits = 11;
    FAILS(SYNCLINE_EMISMATCH, syncline_zone_create(bus, "zone options", &zone), "10");
    zone.pace = 4;
    FAILS(SYNCLINE_EINVALID, syncline_zone_create(bus, "another", &zone), "no pace");
    FAILS(SYNCLINE_EINVALID, syncline_zone_create(bus, "\n", NULL), "control");
    FAILS(SYNCLINE_EUNKNOWN, syncline_zone_remove(bus, "nowhere"), "nowhere");
    IS(SYNCLINE_EINVALID, syncline_zone_remove(bus, ""));
    zone = (struct syncline_zone_options){.size = sizeof zone};
    syncline_writer_close(none);
    syncline_writer_close(writer);

    zone.pace = SYNCLINE_LOCKSTEP;
    writer = open_writer_in(bus, "bad lockstep", "w", &zone);
    none = open_writer(bus, "bad lockstep", "other");
    FAILS(SYNCLINE_EINVALID, syncline_writer_edge(writer, NULL), "call permit");
    IS(0, syncline_batch_begin(writer));
    FAILS(SYNCLINE_EINVALID, syncline_writer_permit(writer, NULL), "a batch is open");
    FAILS(SYNCLINE_EINVALID, syncline_writer_roll_back_era(writer), "a batch is open");
    IS(0, syncline_batch_roll_back(writer));
    IS(0, syncline_writer_permit(writer, NULL));
    FAILS(SYNCLINE_EINVALID, syncline_writer_permit(writer, NULL), "found a second");
    FAILS(SYNCLINE_EINVALID, syncline_zone_edge(bus, "bad lockstep", &tag, NULL), "no tag");
    syncline_writer_close(none);
    syncline_writer_close(writer);
}

static void names(syncline_bus *bus) {
    char longest[129], too_long[130];
    const char *bad[] = {"", "a\nb", too_long, "\xff\xfe", NULL};
    struct syncline_writer_options options = {.size = sizeof options, .zone = "names", .name = "w"};
    struct syncline_channel channel = {"x", NULL};
    struct syncline_reader_options reader_options = {.size = sizeof reader_options, .zone = "names", .name = "r",
                                                     .channels = &channel, .channel_count = 1};
    syncline_writer *writer, *none;
    syncline_reader *reader;
    syncline_lane lane;
    memset(longest, 'n', sizeof longest - 1);
    memset(too_long, 'n', sizeof too_long - 1);
    longest[128] = too_long[129] = 0;
    IS(0, syncline_writer_open(bus, &options, &writer));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.zone = bad[i];
        IS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &none));
        options.zone = "names";
        options.name = bad[i];
        IS(SYNCLINE_EINVALID, syncline_writer_open(bus, &options, &none));
        options.name = "w";
        IS(SYNCLINE_EINVALID, syncline_lane_open(writer, bad[i], NULL, NULL, &lane));
        channel.name = bad[i];
        IS(SYNCLINE_EINVALID, syncline_reader_open(bus, &reader_options, &reader));
        CHECK(reader == NULL);
    }
    IS(0, syncline_lane_open(writer, longest, NULL, NULL, &lane));
    FAILS(SYNCLINE_EINVALID, syncline_lane_open(writer, longest, NULL, NULL, &lane), longest);
    channel.name = "not there";
    reader_options.must_exist = 1;
    FAILS(SYNCLINE_EUNKNOWN, syncline_reader_open(bus, &reader_options, &reader), "not there");
    reader_options.channel_count = 0;
    FAILS(SYNCLINE_EINVALID, syncline_reader_open(bus, &reader_options, &reader), "channels");
    reader_options.channel_count = UINT32_MAX;
    IS(SYNCLINE_EINVALID, syncline_reader_open(bus, &reader_options, &reader));
    syncline_writer_close(writer);
}

static void types(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "types", "w"), *other = open_writer(bus, "types", "other");
    struct syncline_type type = sample_type;
    struct syncline_field field = sample_fields[0];
    struct syncline_channel channel = {"sample", &type};
    struct syncline_reader_options options = {
        .size = sizeof options, .zone = "types", .name = "r", .channels = &channel, .channel_count = 1};
    syncline_reader *reader;
    syncline_lane lane;
    open_lane(writer, "sample", &sample_type);
    type.align = 3;
    FAILS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane), "lign");
    type.align = 16;
    IS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane));
    type = sample_type;
    type.fields = &field;
    type.field_count = 1;
    field.offset = sizeof(struct sample);
    FAILS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane), "number");
    field = sample_fields[0];
    field.scalar = 0;
    IS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane));
    field = sample_fields[0];
    FAILS(SYNCLINE_EMISMATCH, syncline_lane_open(other, "sample", &type, NULL, &lane), "sample");
    type.field_count = 257;
    IS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane));
    type.fields = NULL;
    IS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane));
    type = sample_type;
    type.size = 0;
    FAILS(SYNCLINE_EINVALID, syncline_lane_open(other, "bad", &type, NULL, &lane), "sizeof(struct syncline_type)");
    type = sample_type;
    type.variable = 1;
    IS(SYNCLINE_EMISMATCH, syncline_reader_open(bus, &options, &reader));
    type = sample_type;
    type.name = "test.other";
    FAILS(SYNCLINE_EMISMATCH, syncline_reader_open(bus, &options, &reader), "test.sample");
    type = sample_type;
    IS(0, syncline_reader_open(bus, &options, &reader));
    syncline_reader_close(reader);
    syncline_writer_close(other);
    syncline_writer_close(writer);
}

static void sizes(syncline_bus *bus) {
    static char bytes[8192];
    syncline_writer *writer = open_writer(bus, "sizes", "w"), *other = open_writer(bus, "sizes", "other");
    struct syncline_lane_options small = {.size = sizeof small, .capacity = 4096};
    struct syncline_lane_options large = {.size = sizeof large, .capacity = UINT64_MAX};
    struct sample sample = {0};
    syncline_lane lane, samples = open_lane(writer, "sample", &sample_type);
    syncline_reader *reader;
    int result;
    CHECK(syncline_lane_open(writer, "large", NULL, &large, &lane) < 0);
    small.max_len = 1 << 20;
    IS(SYNCLINE_ETOOLARGE, syncline_lane_open(writer, "small", NULL, &small, &lane));
    small.max_len = 0;
    IS(0, syncline_lane_open(writer, "small", NULL, &small, &lane));
    FAILS(SYNCLINE_ETOOLARGE, syncline_writer_publish(writer, lane, bytes, sizeof bytes), "8192");
    IS(SYNCLINE_ETOOLARGE, syncline_writer_publish(writer, lane, bytes, SIZE_MAX));
    IS(SYNCLINE_EINVALID, syncline_writer_publish(writer, lane, NULL, 1));
    IS(0, syncline_writer_publish(writer, lane, NULL, 0));
    FAILS(SYNCLINE_EBADVALUE, syncline_writer_publish(writer, samples, &sample, sizeof sample - 1), "24");
    IS(SYNCLINE_EINVALID, syncline_writer_publish(other, lane, bytes, 1));
    IS(SYNCLINE_EINVALID, syncline_writer_publish(writer, lane + 100, bytes, 1));
    IS(SYNCLINE_EINVALID, syncline_writer_publish(writer, UINT64_MAX, bytes, 1));

    reader = open_reader(bus, "sizes", "small", 0);
    do {
        result = syncline_writer_publish(writer, lane, bytes, 100);
    } while (result == 0);
    FAILS(SYNCLINE_EFULL, result, "no room");
    IS(0, syncline_writer_set_room_timeout(writer, 20000000));
    IS(SYNCLINE_EFULL, syncline_writer_publish(writer, lane, bytes, 100));
    syncline_reader_close(reader);
    IS(0, syncline_writer_publish(writer, lane, bytes, 100));
    syncline_writer_close(other);
    syncline_writer_close(writer);
}

static void loans_and_batches(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "turns", "w");
    syncline_lane bytes = open_lane(writer, "bytes", NULL), samples = open_lane(writer, "sample", &sample_type), none;
    void *place = writer;
    FAILS(SYNCLINE_EINVALID, syncline_loan_publish(writer, 1), "no loan");
    IS(SYNCLINE_EINVALID, syncline_loan_drop(writer));
    FAILS(SYNCLINE_EINVALID, syncline_batch_commit(writer), "no batch");
    IS(SYNCLINE_EINVALID, syncline_batch_push(writer, bytes, "x", 1));
    IS(SYNCLINE_EINVALID, syncline_batch_roll_back(writer));
    IS(SYNCLINE_EINVALID, syncline_writer_loan(writer, bytes, 8, NULL));
    IS(SYNCLINE_ETOOLARGE, syncline_writer_loan(writer, bytes, SIZE_MAX, &place));
    CHECK(place == NULL);

    IS(0, syncline_writer_loan(writer, bytes, 8, &place));
    FAILS(SYNCLINE_EINVALID, syncline_writer_loan(writer, bytes, 8, &place), "a loan is open");
    IS(SYNCLINE_EINVALID, syncline_writer_publish(writer, bytes, "x", 1));
    IS(SYNCLINE_EINVALID, syncline_batch_begin(writer));
    IS(SYNCLINE_EINVALID, syncline_writer_edge(writer, NULL));
    IS(SYNCLINE_EINVALID, syncline_lane_open(writer, "more", NULL, NULL, &none));
    FAILS(SYNCLINE_EINVALID, syncline_loan_publish(writer, 9), "8");
    IS(0, syncline_loan_publish(writer, 0));
    IS(0, syncline_writer_loan(writer, samples, sizeof(struct sample), &place));
    IS(SYNCLINE_EBADVALUE, syncline_loan_publish(writer, 1));
    IS(0, syncline_loan_drop(writer));

    IS(0, syncline_batch_begin(writer));
    FAILS(SYNCLINE_EINVALID, syncline_batch_begin(writer), "a batch is open");
    IS(SYNCLINE_EINVALID, syncline_writer_publish(writer, bytes, "x", 1));
    IS(SYNCLINE_EINVALID, syncline_writer_edge(writer, NULL));
    IS(SYNCLINE_EBADVALUE, syncline_batch_push(writer, samples, "x", 1));
    IS(0, syncline_batch_push(writer, bytes, "x", 1));
    IS(0, syncline_writer_loan(writer, bytes, 8, &place));
    IS(SYNCLINE_EINVALID, syncline_batch_push(writer, bytes, "x", 1));
    IS(SYNCLINE_EINVALID, syncline_batch_commit(writer));
    IS(0, syncline_batch_roll_back(writer)); /* the loan goes with it */
    IS(SYNCLINE_EINVALID, syncline_loan_publish(writer, 1));
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_commit(writer)); /* nothing in it */
    IS(0, syncline_writer_publish(writer, bytes, "x", 1));
    IS(0, syncline_writer_edge(writer, NULL));
    IS(0, syncline_batch_begin(writer)); /* goes with the writer */
    IS(0, syncline_writer_loan(writer, bytes, 8, &place));
    syncline_writer_close(writer);
}

static void edges(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "bad edges", "w");
    syncline_reader *reader = open_reader(bus, "bad edges", "bytes", 1), *live = open_reader(bus, "bad edges", "bytes", 0);
    const struct syncline_edge *edge = (const struct syncline_edge *)1;
    const struct syncline_era *era;
    IS(0, syncline_writer_edge_info(writer, 0, &edge));
    CHECK(edge == NULL);
    IS(0, syncline_writer_edge_info(writer, 1, &edge));
    IS(0, syncline_reader_edge_info(reader, UINT64_MAX, &edge));
    IS(SYNCLINE_EINVALID, syncline_writer_edge_info(writer, 1, NULL));
    FAILS(SYNCLINE_EINVALID, syncline_era_edge(reader, &edge), "begin one first");
    FAILS(SYNCLINE_EINVALID, syncline_era_edge(live, &edge), "live");
    IS(SYNCLINE_EINVALID, syncline_era_edge(reader, NULL));
    IS(0, syncline_batch_begin(writer));
    FAILS(SYNCLINE_EINVALID, syncline_writer_edge_tagged(writer, 1, NULL), "a batch is open");
    IS(0, syncline_batch_roll_back(writer));
    FAILS(SYNCLINE_EUNKNOWN, syncline_zone_edge(bus, "nowhere", NULL, NULL), "nowhere");
    FAILS(SYNCLINE_EINVALID, syncline_zone_edge(bus, "bad edges", (const uint64_t *)1, NULL), "tag");
    IS(0, syncline_writer_edge(writer, NULL));
    IS(1, syncline_reader_try_era(reader, &era));
    IS(1, syncline_era_edge(reader, &edge));
    CHECK(edge->has_tag == 0 && edge->tag == 0);
    CHECK(strcmp(syncline_reason_name(0), "unknown") == 0 && strcmp(syncline_reason_name(UINT32_MAX), "unknown") == 0);
    syncline_reader_close(live);
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

static void halts(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "bad halts", "w");
    syncline_reader *live = open_reader(bus, "bad halts", "bytes", 0);
    const struct syncline_late *late;
    syncline_halt *halt = (syncline_halt *)1;
    uint64_t version;
    FAILS(SYNCLINE_EUNKNOWN, syncline_zone_halt(bus, "nowhere", 0, &halt), "nowhere");
    CHECK(halt == NULL);
    IS(SYNCLINE_EUNKNOWN, syncline_zone_request_early(bus, "nowhere"));
    IS(SYNCLINE_EUNKNOWN, syncline_zone_wait_done(bus, "nowhere", 1, 0));
    FAILS(SYNCLINE_EINVALID, syncline_writer_on_halt(writer, 2), "found 2");
    FAILS(SYNCLINE_EINVALID, syncline_era_end(live), "live");
    IS(0, syncline_writer_halt(writer, 0, &halt));
    IS(SYNCLINE_EINVALID, syncline_halt_late(halt, 0, NULL));
    IS(0, syncline_halt_late(halt, SIZE_MAX, &late));
    FAILS(SYNCLINE_EINVALID, syncline_halt_version(halt, 64, &version), "the zone has 64");
    IS(SYNCLINE_EINVALID, syncline_halt_version(halt, 0, NULL));
    syncline_halt_release(halt);
    syncline_reader_close(live);
    syncline_writer_close(writer);
}

static void past_and_markers(syncline_bus *bus) {
    struct syncline_channel channel = {"bytes", NULL};
    struct syncline_reader_options options = {.size = sizeof options, .zone = "bad past", .name = "r", .channels = &channel,
                                              .channel_count = 1, .synced = 1, .markers = 1};
    struct syncline_zone_options revocable = {.size = sizeof revocable, .pace = SYNCLINE_REVOCABLE};
    syncline_reader *reader, *none, *live;
    const struct syncline_message *message;
    const struct syncline_edge *edge;
    const struct syncline_era *era;
    FAILS(SYNCLINE_EINVALID, syncline_reader_open(bus, &options, &none), "both synced and with markers");
    CHECK(none == NULL);
    options.markers = 0;
    options.start_era = 2;
    FAILS(SYNCLINE_EGONE, syncline_reader_open(bus, &options, &none), "era 2");
    CHECK(none == NULL);
    options.start_era = 1;
    IS(0, syncline_reader_open(bus, &options, &reader));
    live = open_reader(bus, "bad past", "bytes", 0);
    FAILS(SYNCLINE_EINVALID, syncline_era_previous(reader, &era), "begin one first");
    FAILS(SYNCLINE_EINVALID, syncline_era_previous(live, &era), "live");
    FAILS(SYNCLINE_EINVALID, syncline_reader_rewind(live, 1), "live");
    FAILS(SYNCLINE_EINVALID, syncline_reader_try_live(live, &message, &edge), "markers");
    FAILS(SYNCLINE_EINVALID, syncline_reader_wait_live(reader, -1, &message, &edge), "markers");
    IS(SYNCLINE_EINVALID, syncline_reader_try_live(live, NULL, &edge));
    IS(SYNCLINE_EINVALID, syncline_reader_try_live(live, &message, NULL));
    IS(SYNCLINE_EINVALID, syncline_era_previous(reader, NULL));
    syncline_reader_close(live);
    syncline_reader_close(reader);
    options = (struct syncline_reader_options){.size = sizeof options, .zone = "bad revocable", .name = "r", .channels = &channel,
                                               .channel_count = 1, .zone_options = &revocable};
    IS(SYNCLINE_EINVALID, syncline_reader_open(bus, &options, &none));
}

static void reading(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "reading", "w");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "reading", "bytes", 0);
    const struct syncline_message *message = (const struct syncline_message *)1;
    const struct syncline_era *era;
    const struct syncline_closed *closed;
    syncline_watch *watch;
    uint64_t number;
    char buffer[4];
    IS(0, syncline_reader_try(reader, &message));
    CHECK(message == NULL);
    IS(SYNCLINE_EINVALID, syncline_reader_try(reader, NULL));
    FAILS(SYNCLINE_EINVALID, syncline_message_copy(reader, buffer, sizeof buffer), "no present message");
    IS(SYNCLINE_EINVALID, syncline_message_era(reader, &number));
    FAILS(SYNCLINE_EINVALID, syncline_reader_try_era(reader, &era), "live");
    IS(SYNCLINE_EINVALID, syncline_era_next(reader, &message));
    IS(0, syncline_reader_closed(reader, &closed));
    IS(0, syncline_reader_release(reader));
    IS(0, syncline_writer_publish(writer, lane, "12345", 5));
    IS(1, syncline_reader_wait(reader, -1, &message));
    FAILS(SYNCLINE_ETOOLARGE, syncline_message_copy(reader, buffer, sizeof buffer), "5 bytes");
    IS(SYNCLINE_EINVALID, syncline_message_copy(reader, NULL, 5));
    IS(0, syncline_reader_release(reader));
    IS(SYNCLINE_EINVALID, syncline_message_copy(reader, buffer, sizeof buffer));
    FAILS(SYNCLINE_ETIMEOUT, syncline_bus_wait_readers(bus, "reading", "bytes", 2, 1000000, NULL), "deadline");
    IS(SYNCLINE_EINVALID, syncline_bus_wait_readers(bus, "reading", "\n", 1, -1, NULL));
    IS(SYNCLINE_EINVALID, syncline_bus_watch(bus, "", &watch));
    IS(SYNCLINE_EINVALID, syncline_bus_watch(bus, "\n", &watch));
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

int main(void) {
    library();
    connecting();
    syncline_bus *bus = connect_bus();
    null_handles(bus);
    options(bus);
    zone_options(bus);
    names(bus);
    types(bus);
    sizes(bus);
    loans_and_batches(bus);
    edges(bus);
    halts(bus);
    past_and_markers(bus);
    reading(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
