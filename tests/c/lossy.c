/* Channels whose writers do not wait for ever: what is lost is said, who holds up is named, who takes nothing is evicted. Prints "ok". */
#include "check.h"

#include <unistd.h>

static int open_with(syncline_writer *writer, const char *channel, uint32_t delivery, uint32_t evict_ms, syncline_lane *lane) {
    struct syncline_lane_options options = {
        .size = sizeof options, .capacity = 4096, .delivery = delivery, .evict_ms = evict_ms};
    return syncline_lane_open(writer, channel, NULL, &options, lane);
}

/* Publishes the numbers up to `end`. */
static void publish(syncline_writer *writer, syncline_lane lane, uint64_t *number, uint64_t end) {
    for (; *number < end; ++*number) {
        IS(0, syncline_writer_publish(writer, lane, number, sizeof *number));
    }
}

/* The channel of a zone is listed like this, and its first reader as evicted from so many lanes. */
static void listed(syncline_bus *bus, const char *zone, uint32_t delivery, uint32_t evict_ms, uint32_t evicted) {
    syncline_listing *listing;
    const struct syncline_item *item;
    int channels = 0, readers = 0;
    IS(0, syncline_bus_list(bus, &listing));
    while (syncline_listing_next(listing, &item) == 1) {
        if (strcmp(item->zone, zone) == 0 && item->kind == SYNCLINE_CHANNEL) {
            CHECK(item->delivery == delivery && item->evict_ms == evict_ms);
            channels++;
        } else if (strcmp(item->zone, zone) == 0 && item->kind == SYNCLINE_READER && readers++ == 0) {
            CHECK(item->evicted == evicted);
        }
    }
    CHECK(channels == 1 && readers > 0);
    syncline_listing_close(listing);
}

static void losing(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "losing", "careless");
    syncline_lane lane;
    IS(0, open_with(writer, "bytes", SYNCLINE_LOSSY, 0, &lane));
    syncline_reader *live = open_reader(bus, "losing", "bytes", 0), *synced = open_reader(bus, "losing", "bytes", 1);
    const struct syncline_message *message;
    const struct syncline_lost *lost;
    const struct syncline_era *era;
    uint64_t number = 0, expected = 1;
    listed(bus, "losing", SYNCLINE_LOSSY, 0, 0);
    IS(0, syncline_detail_lost(&lost)); /* nothing has failed */
    CHECK(lost == NULL);
    publish(writer, lane, &number, 10);
    IS(1, syncline_reader_try(live, &message));
    for (uint64_t i = 1; i < 50; i++) {
        publish(writer, lane, &number, 100 * i);
        IS(0, syncline_writer_edge(writer, NULL));
        CHECK(*(const uint64_t *)message->data == 0); /* it is held, in place */
    }
    while (expected < number) { /* first what is left of the page that it held */
        int result = syncline_reader_try(live, &message);
        if (result == SYNCLINE_ELAGGED) {
            IS(1, syncline_detail_lost(&lost));
            CHECK(strcmp(lost->channel, "bytes") == 0 && strcmp(lost->writer_name, "careless") == 0);
            CHECK(lost->count > 0 && lost->first_era == 0);
            expected += lost->count;
        } else {
            IS(1, result);
            CHECK(*(const uint64_t *)message->data == expected && message->sequence == expected);
            expected++;
        }
    }
    IS(0, syncline_reader_try(live, &message));

    FAILS(SYNCLINE_EERASLOST, syncline_reader_try_era(synced, &era), "eras 1 to ");
    IS(1, syncline_detail_lost(&lost));
    CHECK(lost->channel == NULL && lost->first_era == 1 && lost->last_era > 40 && lost->last_era < 49);
    for (uint64_t n = lost->last_era + 1; n <= 49; n++) {
        IS(1, syncline_reader_try_era(synced, &era));
        CHECK(era->number == n);
        for (uint64_t i = 100 * (n - 1); i < 100 * n; i++) {
            IS(1, syncline_era_next(synced, &message));
            CHECK(*(const uint64_t *)message->data == i);
        }
        IS(0, syncline_era_next(synced, &message));
    }
    syncline_reader_close(live);
    syncline_reader_close(synced);
    syncline_writer_close(writer);
}

static void evicting(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "evicting", "impatient");
    syncline_lane lane;
    const struct syncline_holder *holder;
    const struct syncline_message *message;
    const struct syncline_lost *lost;
    uint64_t number = 0;
    int result;
    IS(0, open_with(writer, "bytes", SYNCLINE_RELIABLE, 10, &lane));
    IS(0, syncline_writer_held_up_by(writer, lane, &holder));
    syncline_reader *slow = open_reader(bus, "evicting", "bytes", 0);
    while ((result = syncline_writer_publish(writer, lane, &number, sizeof number)) == 0) {
        number++;
    }
    CHECK(result == SYNCLINE_EFULL && number > 100);
    IS(1, syncline_writer_held_up_by(writer, lane, &holder));
    CHECK(strcmp(holder->name, "reader") == 0 && holder->pid == getpid() && holder->uid == geteuid());
    CHECK(holder->behind == 24 * number && holder->synced == 0);
    IS(0, syncline_writer_set_room_timeout(writer, 60000000000));
    IS(0, syncline_writer_publish(writer, lane, &number, sizeof number));
    listed(bus, "evicting", SYNCLINE_RELIABLE, 10, 1);
    do {
        result = syncline_reader_try(slow, &message);
    } while (result == 1);
    IS(SYNCLINE_EEVICTED, result);
    IS(1, syncline_detail_lost(&lost));
    CHECK(strcmp(lost->channel, "bytes") == 0 && strcmp(lost->writer_name, "impatient") == 0 && lost->count == 0);
    IS(0, syncline_reader_try(slow, &message));
    syncline_reader_close(slow);
    syncline_writer_close(writer);
}

static void bad_options(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "bad", "w"), *other = open_writer(bus, "bad", "other");
    syncline_lane lane, whole;
    FAILS(SYNCLINE_EINVALID, open_with(writer, "bytes", 3, 0, &lane), "delivery: expected one of");
    FAILS(SYNCLINE_EINVALID, open_with(writer, "bytes", SYNCLINE_LOSSY, 5, &lane), "evict_ms: expected 0");
    FAILS(SYNCLINE_EINVALID, open_with(writer, "bytes", SYNCLINE_AS_IT_IS, 5, &lane), "evict_ms: expected 0");
    IS(0, open_with(writer, "bytes", SYNCLINE_AS_IT_IS, 0, &lane));
    FAILS(SYNCLINE_EMISMATCH, open_with(other, "bytes", SYNCLINE_LOSSY, 0, &lane), "expected it reliable");
    IS(0, open_with(other, "bytes", SYNCLINE_RELIABLE, 0, &whole));
    /* An era that fills its lane. */
    syncline_reader *synced = open_reader(bus, "bad", "bytes", 1);
    char bytes[100] = {0};
    int result;
    while ((result = syncline_writer_publish(other, whole, bytes, sizeof bytes)) == 0) {
    }
    FAILS(SYNCLINE_EERATOOLARGE, result, "make an edge before");
    syncline_reader_close(synced);
    syncline_writer_close(writer);
    syncline_writer_close(other);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    losing(bus);
    evicting(bus);
    bad_options(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
