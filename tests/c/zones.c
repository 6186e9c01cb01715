/* Zones that are made and removed, what is listed of them, and eras that are rolled back. Prints "ok". */
#include "check.h"

#include <unistd.h>

/* The item of this kind and name in the zone, NULL if there is none; valid until the next call. */
static const struct syncline_item *listed(syncline_bus *bus, const char *zone, uint32_t kind, const char *name) {
    static syncline_listing *listing;
    const struct syncline_item *item;
    syncline_listing_close(listing);
    IS(0, syncline_bus_list(bus, &listing));
    while (syncline_listing_next(listing, &item) == 1) {
        if (item->kind == kind && strcmp(item->zone, zone) == 0 && strcmp(item->name, name) == 0) {
            return item;
        }
    }
    return NULL;
}

#define ZONE(bus, zone) listed(bus, zone, SYNCLINE_ZONE, zone)

static void create_and_remove(syncline_bus *bus) {
    struct syncline_zone_options options = {.size = sizeof options, .writers = 3, .subscriptions = 10, .click_ns = 20500000,
                                            .every_commits = 1000, .every_bytes = 1 << 20, .keep_bytes = 4096, .keep_eras = 100};
    const struct syncline_zone_options *has;
    const struct syncline_item *item;
    CHECK(ZONE(bus, "made") == NULL);
    IS(0, syncline_zone_create(bus, "made", &options));
    IS(0, syncline_zone_create(bus, "made", &options)); /* it is what it should be */
    IS(0, syncline_zone_create(bus, "made", NULL));
    item = ZONE(bus, "made");
    CHECK(item != NULL && item->created == 1 && item->halted == 0 && item->generation == 0 && item->last_edge == NULL);
    has = item->options;
    CHECK(has->size == sizeof *has && has->writers == 3 && has->eras == 128 && has->subscriptions == 10 && has->zero == 0);
    CHECK(has->pace == SYNCLINE_FREE && has->click_ns == 20000000 && has->every_commits == 1000 && has->every_bytes == 1 << 20);
    CHECK(has->deadline_ns == 0 && has->keep_bytes == 4096 && has->keep_eras == 100);
    syncline_writer_close(open_writer_in(bus, "made", "w", &options));
    CHECK(ZONE(bus, "made") != NULL);
    syncline_writer *writer = open_writer(bus, "made", "w");
    IS(0, syncline_zone_remove(bus, "made"));
    item = ZONE(bus, "made");
    CHECK(item != NULL && item->created == 0); /* while somebody is in it */
    syncline_writer_close(writer);
    CHECK(ZONE(bus, "made") == NULL);

    options = (struct syncline_zone_options){.size = sizeof options, .pace = SYNCLINE_LOCKSTEP};
    IS(0, syncline_zone_create(bus, "made", &options));
    has = ZONE(bus, "made")->options;
    CHECK(has->pace == SYNCLINE_LOCKSTEP && has->deadline_ns == 1000000000 && has->writers == 64 && has->eras == 64);
    IS(0, syncline_zone_remove(bus, "made"));
    CHECK(ZONE(bus, "made") == NULL);
}

static void listing(syncline_bus *bus) {
    struct syncline_zone_options options = {.size = sizeof options, .keep_eras = 2};
    syncline_writer *writer = open_writer_in(bus, "listing", "w", &options), *goes = open_writer(bus, "listing", "goes");
    syncline_lane lane = open_lane(writer, "bytes", NULL), of_gone = open_lane(goes, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "listing", "bytes", 1), *live = open_reader(bus, "listing", "live", 0);
    struct syncline_channel channel = {"bytes", NULL};
    struct syncline_reader_options with_markers = {.size = sizeof with_markers, .zone = "listing", .name = "marked",
                                                   .channels = &channel, .channel_count = 1, .markers = 1};
    const struct syncline_item *item;
    syncline_halt *halt;
    say(goes, of_gone, 'a');
    item = listed(bus, "listing", SYNCLINE_WRITER, "w");
    CHECK(item->open_batch == 0 && item->straddles == 0 && item->permits == 0);
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, lane, "b", 1));
    IS(0, syncline_writer_edge(goes, NULL));
    IS(0, syncline_writer_edge(goes, NULL));
    item = listed(bus, "listing", SYNCLINE_WRITER, "w");
    CHECK(item->open_batch == 1 && item->straddles == 2);
    CHECK(listed(bus, "listing", SYNCLINE_WRITER, "goes")->straddles == 0);
    IS(0, syncline_batch_commit(writer));
    CHECK(listed(bus, "listing", SYNCLINE_WRITER, "w")->open_batch == 0);

    item = listed(bus, "listing", SYNCLINE_READER, "reader");
    CHECK(item->takes_eras == 1 && item->taken == 0 && item->synced == 1);
    next_era_has(reader, 1, "a");
    next_era_has(reader, 2, ""); /* so the first is done with */
    CHECK(listed(bus, "listing", SYNCLINE_READER, "reader")->taken == 1);
    syncline_reader_close(reader);
    item = listed(bus, "listing", SYNCLINE_READER, "reader"); /* the live one, which has no lane, has the same name */
    CHECK(item->takes_eras == 0 && item->taken == 0 && item->synced == 0);
    syncline_reader_close(live);
    IS(0, syncline_reader_open(bus, &with_markers, &live));
    item = listed(bus, "listing", SYNCLINE_READER, "marked");
    CHECK(item->takes_eras == 1 && item->taken == 2 && item->synced == 0);
    syncline_reader_close(live);

    CHECK(listed(bus, "listing", SYNCLINE_CHANNEL, "bytes")->kept == 0);
    syncline_writer_close(goes);
    item = listed(bus, "listing", SYNCLINE_CHANNEL, "bytes");
    CHECK(item->kept == 1 && item->lanes == 1);
    IS(0, syncline_writer_halt(writer, 1000000000, &halt));
    CHECK(ZONE(bus, "listing")->halted == 1);
    syncline_halt_release(halt);
    CHECK(ZONE(bus, "listing")->halted == 0);
    syncline_writer_close(writer);
}

static void rolling_back(syncline_bus *bus) {
    struct syncline_zone_options options = {
        .size = sizeof options, .pace = SYNCLINE_REVOCABLE, .deadline_ns = UINT64_C(3600000000000)};
    syncline_writer *first = open_writer_in(bus, "revocable", "first", &options), *second = open_writer(bus, "revocable", "second");
    syncline_lane of_first = open_lane(first, "bytes", NULL), of_second = open_lane(second, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "revocable", "bytes", 1);
    const struct syncline_era *era;
    const struct syncline_item *item;
    void *place;
    CHECK(ZONE(bus, "revocable")->options->pace == SYNCLINE_REVOCABLE);
    say(first, of_first, 'a');
    IS(0, syncline_writer_permit(first, NULL));
    item = listed(bus, "revocable", SYNCLINE_WRITER, "first");
    CHECK(item->permits == 1 && listed(bus, "revocable", SYNCLINE_WRITER, "second")->permits == 0);
    FAILS(SYNCLINE_EINVALID, syncline_writer_roll_back_era(first), "too late");
    say(second, of_second, 'b');
    IS(0, syncline_writer_roll_back_era(second)); /* for both: the first has done its part for nothing */
    FAILS(SYNCLINE_EROLLEDBACK, syncline_reader_wait_era(reader, -1, &era), "rolled back");
    FAILS(SYNCLINE_EROLLEDBACK, syncline_writer_publish(first, of_first, "c", 1), "rolled back");
    say(first, of_first, 'd'); /* told once */
    say(second, of_second, 'e');
    IS(0, syncline_writer_roll_back_era(first));
    IS(0, syncline_batch_begin(second));
    IS(0, syncline_batch_push(second, of_second, "f", 1));
    IS(SYNCLINE_EROLLEDBACK, syncline_batch_commit(second));
    IS(SYNCLINE_EINVALID, syncline_batch_commit(second)); /* it is over */
    IS(0, syncline_writer_roll_back_era(second));
    IS(SYNCLINE_EROLLEDBACK, syncline_writer_permit(first, NULL));
    IS(0, syncline_writer_roll_back_era(second));
    IS(0, syncline_writer_loan(first, of_first, 1, &place));
    IS(SYNCLINE_EROLLEDBACK, syncline_loan_publish(first, 1));
    IS(SYNCLINE_EINVALID, syncline_loan_drop(first)); /* it is over */
    say(first, of_first, 'g');
    say(second, of_second, 'h');
    IS(0, syncline_writer_permit(first, NULL));
    IS(0, syncline_writer_permit(second, NULL));
    next_era_has(reader, 1, "gh");
    IS(0, syncline_reader_try_era(reader, &era));
    syncline_reader_close(reader);
    syncline_writer_close(second);
    syncline_writer_close(first);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    create_and_remove(bus);
    listing(bus);
    rolling_back(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
