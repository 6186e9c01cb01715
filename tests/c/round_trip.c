/* What goes in comes out: every function at its work, every member of every struct looked at. Prints "ok". */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

static const struct syncline_type sample_type = SYNCLINE_TYPE(struct sample, "test.sample", sample_fields);
static const struct syncline_type number_type = SYNCLINE_TYPE_PLAIN_SLICE(uint64_t, "u64");

/* The layout of version 1 of the interface: whatever is here stays. */
#define AT(type, member, offset) _Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
AT(syncline_type, fields, 32);
AT(syncline_field, scalar, 16);
AT(syncline_channel, type, 8);
AT(syncline_writer_options, zone_subscriptions, 40);
AT(syncline_lane_options, max_len, 16);
AT(syncline_reader_options, channel_count, 32);
AT(syncline_reader_options, zone_subscriptions, 56);
AT(syncline_message, type, 16);
AT(syncline_message, pid, 44);
AT(syncline_message, era, 56);
AT(syncline_era, merged, 8);
AT(syncline_closed, died, 20);
AT(syncline_item, channels, 40);
AT(syncline_item, generation, 72);
AT(syncline_presence, uid, 36);
/* Version 2. */
AT(syncline_writer_options, zone_options, 48);
AT(syncline_reader_options, zone_options, 64);
AT(syncline_reader_options, early, 84);
AT(syncline_zone_options, click_ns, 24);
AT(syncline_zone_options, keep_eras, 64);
AT(syncline_edge, straddlers, 32);
AT(syncline_edge, straddler_count, 40);
AT(syncline_laggard, pid, 16);
AT(syncline_late, pid, 12);
AT(syncline_item, last_edge, 80);
AT(syncline_item, taken, 96);
AT(syncline_item, permits, 128);

static struct sample make_sample(uint64_t number) {
    return (struct sample){number, {0, (float)number / 2, 0}, 7};
}

static void check_sample(syncline_reader *reader, const struct syncline_message *message, uint64_t number) {
    struct sample copy;
    CHECK(message->len == sizeof copy && (uintptr_t)message->data % 8 == 0);
    IS(0, syncline_message_copy(reader, &copy, sizeof copy));
    CHECK(memcmp(&copy, message->data, sizeof copy) == 0);
    CHECK(copy.number == number && copy.value[1] == (float)number / 2 && copy.flags == 7);
    CHECK(strcmp(message->channel, "sample") == 0 && strcmp(message->writer_name, "w") == 0);
    CHECK(message->writer == 0 && message->pid == getpid() && message->sequence == number);
    CHECK(strcmp(message->type->name, "test.sample") == 0 && message->type->element_size == sizeof copy);
    CHECK(message->type->size == sizeof *message->type && message->type->align == 8 && message->type->variable == 0);
    CHECK(message->type->field_count == 3 && strcmp(message->type->fields[1].name, "value") == 0);
    CHECK(message->type->fields[1].offset == 8 && message->type->fields[1].count == 3);
    CHECK(message->type->fields[1].scalar == SYNCLINE_F32);
}

static void live(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "live", "w");
    struct syncline_lane_options small = {.size = sizeof small, .capacity = 4096};
    syncline_lane samples, numbers = open_lane(writer, "numbers", &number_type);
    const struct syncline_message *message;
    const struct syncline_closed *closed;
    struct sample sample;
    uint64_t era, generation, *place, three[] = {1, 2, 3};
    void *loan;
    size_t lanes;
    IS(0, syncline_lane_open(writer, "sample", &sample_type, &small, &samples));
    syncline_reader *reader = open_reader(bus, "live", "sample", 0), *number_reader = open_reader(bus, "live", "numbers", 0);

    for (uint64_t i = 0; i < 1000; i++) { /* through the ring several times over */
        sample = make_sample(i);
        if (i % 2 == 0) {
            IS(0, syncline_writer_publish(writer, samples, &sample, sizeof sample));
        } else {
            IS(0, syncline_writer_loan(writer, samples, sizeof sample, &loan));
            memcpy(loan, &sample, sizeof sample);
            IS(0, syncline_loan_publish(writer, sizeof sample));
        }
        IS(1, i % 3 == 0   ? syncline_reader_try(reader, &message)
              : i % 3 == 1 ? syncline_reader_spin(reader, 1000000000, &message)
                           : syncline_reader_wait(reader, -1, &message));
        check_sample(reader, message, i);
        CHECK(message->era == 0);
        IS(0, syncline_message_era(reader, &era));
    }
    IS(0, syncline_writer_edge(writer, &era));
    IS(0, syncline_writer_generation(writer, &generation));
    CHECK(era == 1 && generation == 1);
    IS(1, syncline_message_era(reader, &era));
    CHECK(era == 1);
    IS(0, syncline_reader_generation(reader, &generation));
    IS(0, syncline_reader_lanes(reader, &lanes));
    CHECK(generation == 1 && lanes == 1);

    /* A batch is seen whole or not at all; a shortened loan; a loan dropped. */
    IS(0, syncline_batch_begin(writer));
    sample = make_sample(1000);
    IS(0, syncline_batch_push(writer, samples, &sample, sizeof sample));
    IS(0, syncline_writer_loan(writer, numbers, 8 * sizeof *place, &loan));
    place = loan;
    place[0] = 10;
    place[1] = 11;
    IS(0, syncline_loan_publish(writer, 2 * sizeof *place));
    IS(0, syncline_reader_try(reader, &message));
    IS(0, syncline_reader_try(number_reader, &message));
    IS(0, syncline_batch_commit(writer));
    IS(1, syncline_reader_try(reader, &message));
    check_sample(reader, message, 1000);
    IS(1, syncline_reader_try(number_reader, &message));
    CHECK(message->len == 16 && ((const uint64_t *)message->data)[1] == 11 && message->type->variable == 1);
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, numbers, three, sizeof three));
    IS(0, syncline_batch_roll_back(writer));
    IS(0, syncline_writer_loan(writer, numbers, 8, &loan));
    IS(0, syncline_loan_drop(writer));
    IS(0, syncline_reader_wait(number_reader, 1000000, &message));
    CHECK(message == NULL);
    IS(0, syncline_writer_publish(writer, numbers, three, sizeof three));
    IS(1, syncline_reader_try(number_reader, &message));
    CHECK(message->sequence == 1 && message->len == sizeof three);

    syncline_writer_close(writer);
    IS(SYNCLINE_ECLOSED, syncline_reader_wait(reader, -1, &message));
    CHECK(message == NULL);
    IS(1, syncline_reader_closed(reader, &closed));
    CHECK(strcmp(closed->channel, "sample") == 0 && strcmp(closed->writer_name, "w") == 0);
    CHECK(closed->writer == 0 && closed->died == 0);
    IS(0, syncline_reader_try(reader, &message));
    syncline_reader_close(number_reader);
    syncline_reader_close(reader);
}

static void synced(syncline_bus *bus) {
    syncline_reader *reader = open_reader(bus, "synced", "sample", 1);
    syncline_writer *writer = open_writer(bus, "synced", "w");
    syncline_lane samples = open_lane(writer, "sample", &sample_type);
    const struct syncline_message *message;
    const struct syncline_era *era;
    struct sample sample;
    uint64_t number, sealed = 0;
    for (number = 0; number < 6; number++) {
        sample = make_sample(number);
        IS(0, syncline_writer_publish(writer, samples, &sample, sizeof sample));
        IS(0, syncline_reader_try_era(reader, &era));
        CHECK(era == NULL);
        if (number % 2 == 1) {
            IS(0, syncline_writer_edge(writer, &sealed));
            IS(1, number == 1   ? syncline_reader_try_era(reader, &era)
                  : number == 3 ? syncline_reader_spin_era(reader, 1000000000, &era)
                                : syncline_reader_wait_era(reader, -1, &era));
            CHECK(era->number == sealed && era->merged == 0);
            for (uint64_t i = number - 1; i <= number; i++) {
                IS(1, syncline_era_next(reader, &message));
                check_sample(reader, message, i);
                CHECK(message->era == sealed);
                IS(1, syncline_message_era(reader, &sealed));
            }
            IS(0, syncline_era_next(reader, &message));
        }
    }
    sample = make_sample(number);
    IS(0, syncline_writer_publish(writer, samples, &sample, sizeof sample));
    IS(0, syncline_writer_edge(writer, NULL));
    IS(1, syncline_reader_try(reader, &message)); /* goes on into the era by itself */
    check_sample(reader, message, number);
    IS(0, syncline_reader_try(reader, &message));
    IS(0, syncline_reader_spin_era(reader, 0, &era));
    syncline_writer_close(writer);
    syncline_reader_close(reader);
}

static void around(syncline_bus *bus) {
    syncline_watch *watch;
    syncline_listing *listing;
    const struct syncline_item *item;
    const struct syncline_presence *event;
    uint32_t found = 0, row = 99;
    unsigned zones = 0, channels = 0, writers = 0, readers = 0, came = 0, left = 0;
    IS(0, syncline_bus_watch(bus, "around", &watch));
    IS(0, syncline_watch_next(watch, 1000000, &event));
    syncline_writer *writer = open_writer(bus, "around", "w");
    open_lane(writer, "sample", &sample_type);
    syncline_reader *reader = open_reader(bus, "around", "sample", 1);
    IS(0, syncline_bus_wait_readers(bus, "around", "sample", 1, -1, &found));
    IS(0, syncline_writer_row(writer, &row));
    CHECK(found == 1 && row == 0);
    IS(0, syncline_bus_list(bus, &listing));
    while (syncline_listing_next(listing, &item) == 1) {
        if (strcmp(item->zone, "around") != 0) {
            continue;
        }
        switch (item->kind) {
        case SYNCLINE_ZONE:
            zones++;
            CHECK(strcmp(item->name, "around") == 0 && item->bytes > 0);
            break;
        case SYNCLINE_CHANNEL:
            channels++;
            CHECK(strcmp(item->name, "sample") == 0 && item->lanes == 1 && item->subscribers == 1);
            CHECK(strcmp(item->type->name, "test.sample") == 0 && item->bytes == 1 << 20);
            break;
        case SYNCLINE_WRITER:
            writers++;
            CHECK(strcmp(item->name, "w") == 0 && item->pid == getpid() && item->uid == getuid() && item->writer == 0);
            CHECK(item->channel_count == 1 && strcmp(item->channels[0], "sample") == 0);
            break;
        case SYNCLINE_READER:
            readers++;
            CHECK(strcmp(item->name, "reader") == 0 && item->pid == getpid() && item->synced == 1 && item->lanes == 1);
            CHECK(item->channel_count == 1 && strcmp(item->channels[0], "sample") == 0);
            break;
        }
    }
    CHECK(zones == 1 && channels == 1 && writers == 1 && readers == 1 && item == NULL);
    syncline_listing_close(listing);
    syncline_writer_close(writer);
    syncline_reader_close(reader);
    do { /* all have come before the first leaves */
        IS(1, syncline_watch_next(watch, -1, &event));
        CHECK(strcmp(event->zone, "around") == 0 && event->change != SYNCLINE_DIED);
        CHECK(event->kind == SYNCLINE_CHANNEL || (event->pid == getpid() && event->uid == getuid() && *event->name));
        CHECK(strcmp(event->channel, "sample") == 0 || event->kind == SYNCLINE_WRITER);
        *(event->change == SYNCLINE_CAME ? &came : &left) += 1;
    } while (left < came);
    CHECK(came >= 3);
    IS(0, syncline_watch_next(watch, 0, &event));
    syncline_watch_close(watch);
}

/* What is open at a fork is the parent's: the child is told so, whatever state it is in, and the parent goes on with it. */
static void forked(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "forked", "w"), *other = open_writer(bus, "forked", "other");
    syncline_lane lane = open_lane(writer, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "forked", "bytes", 0), *synced_reader = open_reader(bus, "forked", "bytes", 1);
    const struct syncline_message *message;
    const struct syncline_era *era;
    const struct syncline_edge *edge;
    syncline_listing *listing;
    syncline_watch *watch;
    uint64_t number;
    void *place;
    char byte;
    int status = 1;
    IS(0, syncline_writer_publish(writer, lane, "1", 1));
    IS(1, syncline_reader_try(reader, &message));
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, lane, "2", 1));
    IS(0, syncline_writer_loan(writer, lane, 1, &place));
    *(char *)place = '3';
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        IS(SYNCLINE_EFORKED, syncline_loan_publish(writer, 1));
        IS(SYNCLINE_EFORKED, syncline_loan_drop(writer));
        IS(SYNCLINE_EFORKED, syncline_batch_push(writer, lane, "x", 1));
        IS(SYNCLINE_EFORKED, syncline_batch_commit(writer));
        IS(SYNCLINE_EFORKED, syncline_batch_roll_back(writer));
        IS(SYNCLINE_EFORKED, syncline_writer_publish(writer, lane, "x", 1));
        IS(SYNCLINE_EFORKED, syncline_writer_edge(writer, NULL));
        IS(SYNCLINE_EFORKED, syncline_writer_generation(writer, &number));
        IS(SYNCLINE_EFORKED, syncline_writer_edge_info(writer, 1, &edge));
        IS(SYNCLINE_EFORKED, syncline_reader_edge_info(synced_reader, 1, &edge));
        IS(SYNCLINE_EFORKED, syncline_era_edge(synced_reader, &edge));
        IS(SYNCLINE_EFORKED, syncline_era_end(synced_reader));
        IS(SYNCLINE_EFORKED, syncline_era_previous(synced_reader, &era));
        IS(SYNCLINE_EFORKED, syncline_reader_rewind(synced_reader, 1));
        IS(SYNCLINE_EFORKED, syncline_reader_try_live(reader, &message, &edge));
        IS(SYNCLINE_EFORKED, syncline_reader_wait_live(reader, -1, &message, &edge));
        IS(SYNCLINE_EFORKED, syncline_reader_request_early(reader));
        IS(SYNCLINE_EFORKED, syncline_zone_edge(bus, "forked", NULL, NULL));
        IS(SYNCLINE_EFORKED, syncline_zone_create(bus, "forked", NULL));
        IS(SYNCLINE_EFORKED, syncline_zone_remove(bus, "forked"));
        IS(SYNCLINE_EFORKED, syncline_writer_roll_back_era(other));
        IS(SYNCLINE_EFORKED, syncline_message_copy(reader, &byte, 1));
        IS(SYNCLINE_EFORKED, syncline_message_era(reader, &number));
        IS(SYNCLINE_EFORKED, syncline_reader_try(reader, &message));
        IS(SYNCLINE_EFORKED, syncline_reader_wait(reader, -1, &message));
        IS(SYNCLINE_EFORKED, syncline_reader_wait_era(synced_reader, -1, &era));
        IS(SYNCLINE_EFORKED, syncline_era_next(synced_reader, &message));
        IS(SYNCLINE_EFORKED, syncline_bus_list(bus, &listing));
        IS(SYNCLINE_EFORKED, syncline_bus_watch(bus, NULL, &watch));
        FAILS(SYNCLINE_EFORKED, syncline_bus_wait_readers(bus, "forked", "bytes", 1, -1, NULL), "connect anew");
        syncline_reader_close(synced_reader);
        syncline_reader_close(reader);
        syncline_writer_close(writer);
        syncline_bus_close(bus);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    IS(0, syncline_loan_publish(writer, 1));
    IS(0, syncline_batch_commit(writer));
    for (char expected = '2'; expected <= '3'; expected++) {
        IS(1, syncline_reader_try(reader, &message));
        IS(0, syncline_message_copy(reader, &byte, 1));
        CHECK(byte == expected);
    }
    syncline_reader_close(synced_reader);
    syncline_reader_close(reader);
    syncline_writer_close(other);
    syncline_writer_close(writer);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    CHECK(strcmp(syncline_bus_socket(bus), getenv("SYNCLINE_SOCKET")) == 0);
    live(bus);
    synced(bus);
    around(bus);
    forked(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
