/* A controller that keeps the state of a plant in a table, and a panel that shows it:
 *
 *     table controller [ROUNDS]    sets the levels of four tanks, all in one commit, and makes an edge, ROUNDS times (10)
 *     table panel                  shows what each era has changed, and from what, until the mode is "off"
 *
 *     cc -std=c11 table.c $(pkg-config --cflags --libs syncline) -o table
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncline.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "table: %s\n", syncline_detail()), exit(1)) : (void)0)

enum { TANKS = 4, MODE_LEN = 16 };

static const struct syncline_type level_type = SYNCLINE_TYPE_PLAIN(double, "f64");
static const struct syncline_type mode_type = SYNCLINE_TYPE_BYTES;
static const struct syncline_table_items items[] = {{"level", &level_type, TANKS, 0}, {"mode", &mode_type, 1, MODE_LEN}};

static void control(syncline_bus *bus, long rounds) {
    struct syncline_writer_options options = {.size = sizeof options, .zone = "plant", .name = "controller.c"};
    struct syncline_table_options table_options = {.size = sizeof table_options, .items = items, .item_count = 2};
    syncline_writer *writer;
    syncline_table table;
    uint32_t levels, mode;
    OR_DIE(syncline_writer_open(bus, &options, &writer));
    OR_DIE(syncline_table_open(writer, "state", &table_options, &table));
    OR_DIE(syncline_table_find(writer, table, "level", 0, &level_type, &levels));
    OR_DIE(syncline_table_find(writer, table, "mode", 0, &mode_type, &mode));
    OR_DIE(syncline_table_set(writer, table, mode, "on", 2));
    for (long round = 1; round <= rounds; round++) {
        OR_DIE(syncline_batch_begin(writer));
        for (uint32_t tank = 0; tank < TANKS; tank++) {
            const double level = (double)round + tank * 0.25;
            OR_DIE(syncline_batch_set(writer, table, levels + tank, &level, sizeof level));
        }
        OR_DIE(syncline_batch_commit(writer));
        OR_DIE(syncline_writer_edge(writer, NULL));
    }
    OR_DIE(syncline_table_set(writer, table, mode, "off", 3));
    OR_DIE(syncline_writer_edge(writer, NULL));
    printf("%ld rounds\n", rounds);
    syncline_writer_close(writer);
}

/* The level of a tank in an era; 0 before there were any, or if that is too long ago. */
static double level_in(syncline_table_reader *reader, uint64_t era, uint32_t item) {
    double level = 0;
    const int got = syncline_table_reader_get(reader, era, item, &level, sizeof level, NULL);
    if (got == SYNCLINE_EGONE) {
        return 0;
    }
    OR_DIE(got);
    return level;
}

static void show(syncline_bus *bus) {
    struct syncline_table_watch_options options = {.size = sizeof options, .name = "panel.c", .synced = 1};
    syncline_table_reader *reader;
    syncline_table_watch *watch;
    uint32_t changed[TANKS + 1], levels, mode_item;
    char mode[MODE_LEN] = "";
    OR_DIE(syncline_table_reader_open(bus, "plant", "state", -1, &reader));
    OR_DIE(syncline_table_reader_find(reader, "level", 0, &level_type, &levels));
    OR_DIE(syncline_table_reader_find(reader, "mode", 0, &mode_type, &mode_item));
    OR_DIE(syncline_table_watch_open(reader, &options, &watch));
    printf("watching\n");
    fflush(stdout);
    while (strncmp(mode, "off", sizeof mode) != 0) {
        uint64_t era;
        const int count = syncline_table_watch_next(watch, -1, changed, TANKS + 1, NULL, &era);
        OR_DIE(count);
        printf("era %" PRIu64 ":", era);
        for (int i = 0; i < count; i++) {
            if (changed[i] >= levels && changed[i] < levels + TANKS) {
                printf(" level %" PRIu32 " %g -> %g", changed[i] - levels, level_in(reader, era - 1, changed[i]),
                       level_in(reader, era, changed[i]));
            }
        }
        printf("\n");
        /* All of one commit, whatever it is by now. */
        double sum = 0, now[TANKS];
        struct syncline_read reads[TANKS + 1] = {{.item = mode_item, .buffer = mode, .size = sizeof mode}};
        for (uint32_t tank = 0; tank < TANKS; tank++) {
            reads[tank + 1] = (struct syncline_read){.item = levels + tank, .buffer = &now[tank], .size = sizeof now[tank]};
        }
        OR_DIE(syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, TANKS + 1));
        memset(mode + reads[0].len, 0, sizeof mode - reads[0].len);
        for (uint32_t tank = 0; tank < TANKS; tank++) {
            sum += now[tank];
        }
        printf("now %s: %g\n", mode, sum);
        fflush(stdout);
    }
    syncline_table_watch_close(watch);
    syncline_table_reader_close(reader);
}

int main(int argc, char **argv) {
    syncline_bus *bus;
    if (argc < 2) {
        fprintf(stderr, "usage: table controller [ROUNDS] | table panel\n");
        return 2;
    }
    OR_DIE(syncline_bus_connect(NULL, &bus));
    if (strcmp(argv[1], "controller") == 0) {
        control(bus, argc > 2 ? strtol(argv[2], NULL, 10) : 10);
    } else {
        show(bus);
    }
    syncline_bus_close(bus);
    return 0;
}
