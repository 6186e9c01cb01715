/* Counters. Prints "ok". */
#include "check.h"

int main(void) {
    const struct syncline_type bytes = SYNCLINE_TYPE_BYTES;
    const struct syncline_zone_stats *zone;
    const struct syncline_writer_stats *w;
    const struct syncline_lane_stats *l;
    const struct syncline_reader_stats *r;
    const struct syncline_message *message;
    syncline_bus *bus = connect_bus();
    syncline_stats *stats;
    uint64_t era;

    FAILS(SYNCLINE_EUNKNOWN, syncline_stats_open(bus, "z", &stats), "zone `z`");
    CHECK(stats == NULL);
    FAILS(SYNCLINE_EINVALID, syncline_stats_open(NULL, "z", &stats), "bus");
    FAILS(SYNCLINE_EINVALID, syncline_stats_open(bus, NULL, &stats), "zone name");
    FAILS(SYNCLINE_EINVALID, syncline_stats_open(bus, "z", NULL), "stats");
    FAILS(SYNCLINE_EINVALID, syncline_stats_read(NULL, &zone), "stats");
    FAILS(SYNCLINE_EINVALID, syncline_stats_lane(NULL, 0, &l), "stats");

    syncline_writer *writer = open_writer(bus, "z", "counted");
    syncline_lane lane = open_lane(writer, "c", &bytes);
    IS(0, syncline_stats_open(bus, "z", &stats));
    IS(0, syncline_stats_writer(stats, 0, &w));
    CHECK(w == NULL);
    syncline_reader *reader = open_reader(bus, "z", "c", 0);
    for (int i = 0; i < 3; i++) {
        say(writer, lane, 'x');
    }
    IS(0, syncline_writer_edge(writer, &era));
    IS(1, syncline_reader_try(reader, &message));
    IS(1, syncline_reader_try(reader, &message));

    FAILS(SYNCLINE_EINVALID, syncline_stats_read(stats, NULL), "zone");
    IS(0, syncline_stats_read(stats, &zone));
    CHECK(strcmp(zone->zone, "z") == 0 && zone->eras == 1 && zone->time_ns > 0);
    CHECK(zone->writers == 1 && zone->lanes == 1 && zone->readers == 1);
    IS(1, syncline_stats_writer(stats, 0, &w));
    IS(0, syncline_stats_writer(stats, 1, &(const struct syncline_writer_stats *){NULL}));
    CHECK(strcmp(w->name, "counted") == 0 && w->writer == 0 && w->pid > 0);
    CHECK(w->commits == 3 && w->edges == 1 && w->full == 0 && w->wakes == 0 && w->evictions == 0);
    IS(1, syncline_stats_lane(stats, 0, &l));
    CHECK(strcmp(l->channel, "c") == 0 && strcmp(l->writer_name, "counted") == 0 && l->writer == 0);
    CHECK(l->messages == 3 && l->bytes == 3 * 24 && l->retained_messages == 3 && l->retained_bytes == 3 * 24);
    CHECK(l->capacity == 1 << 20 && l->readers == 1 && l->pins == 0 && l->most_pins == 0);
    CHECK(!l->lossy && l->evict_ms == 0 && !l->ended && !l->corrupt);
    IS(1, syncline_stats_reader(stats, 0, &r));
    CHECK(strcmp(r->name, "reader") == 0 && strcmp(r->channel, "c") == 0 && r->pid == w->pid && r->lane == l->lane);
    CHECK(r->messages == 1 && r->bytes == 24 && r->behind == 2 * 24 && r->lost == 0 && r->lags == 0);
    CHECK(!r->synced && !r->evicted && !r->pinned && r->sleeps == 0 && r->entry == 0 && r->writer == 0);

    syncline_reader_close(reader);
    IS(0, syncline_stats_read(stats, &zone));
    CHECK(zone->readers == 0 && zone->lanes == 1);
    IS(0, syncline_stats_reader(stats, 0, &r));
    syncline_writer_close(writer);
    FAILS(SYNCLINE_EUNKNOWN, syncline_stats_read(stats, &zone), "zone `z`");
    CHECK(zone == NULL);
    /* The reading before that stays. */
    IS(1, syncline_stats_lane(stats, 0, &l));
    CHECK(l->messages == 3);
    syncline_stats_close(stats);
    syncline_stats_close(NULL);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
