/* Tables: every function once and more, and every kind of misuse. Prints "ok". */
#define _DEFAULT_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static const struct syncline_type sample_type = SYNCLINE_TYPE(struct sample, "test.sample", sample_fields);
static const struct syncline_type number_type = SYNCLINE_TYPE_PLAIN(uint64_t, "u64");
static const struct syncline_type numbers_type = SYNCLINE_TYPE_PLAIN_SLICE(uint64_t, "u64");
static const struct syncline_table_items items[] = {
    {"sample", &sample_type, 0, 0}, {"number", &number_type, 100, 0}, {"text", NULL, 1, 20}, {NULL, &numbers_type, 2, 24}};

enum { SAMPLE = 0, NUMBER = 1, TEXT = 101, SLICE = 102, ITEMS = 104 };

/* Longer than anything takes. */
#define LONG INT64_C(60000000000)

static syncline_table open_table(syncline_writer *writer, const char *name) {
    struct syncline_table_options options = {.size = sizeof options, .items = items, .item_count = 4};
    syncline_table table;
    IS(0, syncline_table_open(writer, name, &options, &table));
    return table;
}

static syncline_table_reader *read_table(syncline_bus *bus, const char *zone, const char *table) {
    syncline_table_reader *reader;
    IS(0, syncline_table_reader_open(bus, zone, table, 0, &reader));
    return reader;
}

static void set(syncline_writer *writer, syncline_table table, uint32_t item, uint64_t value) {
    IS(0, syncline_table_set(writer, table, item, &value, sizeof value));
}

static uint64_t get(syncline_table_reader *reader, uint64_t era, uint32_t item) {
    uint64_t value = 99;
    size_t len = 0;
    IS(0, syncline_table_reader_get(reader, era, item, &value, sizeof value, &len));
    CHECK(len == sizeof value);
    return value;
}

static void values(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "values", "w");
    syncline_table table = open_table(writer, "t");
    syncline_table_reader *reader = read_table(bus, "values", "t");
    const struct syncline_group *group;
    const struct sample sample = {7, {1.5f, 2.5f, 3.5f}, 9};
    const uint64_t slice[3] = {4, 5, 6};
    struct sample copy;
    uint64_t number = 99, copies[3], fence, generation;
    uint32_t item, count;
    size_t len;
    char text[20];
    IS(0, syncline_table_reader_items(reader, &count));
    CHECK(count == ITEMS);
    IS(1, syncline_table_group(writer, table, 1, &group));
    CHECK(strcmp(group->name, "number") == 0 && group->first == NUMBER && group->count == 100 && group->max_len == 8);
    IS(1, syncline_table_reader_group(reader, 3, &group));
    CHECK(strcmp(group->name, "") == 0 && group->first == SLICE && group->count == 2 && group->max_len == 24);
    CHECK(group->type->variable == 1 && group->type->element_size == 8 && strcmp(group->type->name, "u64") == 0);
    IS(0, syncline_table_reader_group(reader, 4, &group));
    CHECK(group == NULL);
    IS(0, syncline_table_group(writer, table, SIZE_MAX, &group));
    IS(0, syncline_table_find(writer, table, "number", 99, &number_type, &item));
    CHECK(item == NUMBER + 99);
    IS(0, syncline_table_reader_find(reader, "sample", 0, &sample_type, &item));
    CHECK(item == SAMPLE);
    IS(0, syncline_table_reader_find(reader, NULL, SLICE + 1, &numbers_type, &item));
    CHECK(item == SLICE + 1);

    /* What was never set is zero, or empty. */
    CHECK(get(reader, SYNCLINE_LATEST, NUMBER) == 0);
    IS(0, syncline_table_reader_get(reader, SYNCLINE_LATEST, TEXT, NULL, 0, &len));
    CHECK(len == 0);

    IS(0, syncline_table_set(writer, table, SAMPLE, &sample, sizeof sample));
    IS(0, syncline_table_reader_get(reader, SYNCLINE_LATEST, SAMPLE, &copy, sizeof copy, NULL));
    CHECK(memcmp(&copy, &sample, sizeof copy) == 0);
    IS(0, syncline_table_set(writer, table, TEXT, "hello", 5));
    IS(0, syncline_table_reader_get(reader, SYNCLINE_LATEST, TEXT, text, sizeof text, &len));
    CHECK(len == 5 && memcmp(text, "hello", 5) == 0);
    FAILS(SYNCLINE_ETOOLARGE, syncline_table_reader_get(reader, SYNCLINE_LATEST, TEXT, text, 4, &len), "the buffer has 4");
    CHECK(len == 5);
    IS(0, syncline_table_set(writer, table, TEXT, NULL, 0));
    IS(0, syncline_table_get(writer, table, TEXT, text, sizeof text, &len));
    CHECK(len == 0);
    IS(0, syncline_table_set(writer, table, SLICE, slice, sizeof slice));
    IS(0, syncline_table_reader_get(reader, SYNCLINE_LATEST, SLICE, copies, sizeof copies, &len));
    CHECK(len == sizeof slice && memcmp(copies, slice, len) == 0);

    /* A batch: its writer sees it, others when it is committed; or never. */
    number = 5;
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_set(writer, table, NUMBER, &number, sizeof number));
    IS(0, syncline_batch_set(writer, table, TEXT, "five", 4));
    number = 0;
    IS(0, syncline_table_get(writer, table, NUMBER, &number, sizeof number, &len));
    CHECK(number == 5 && len == 8 && get(reader, SYNCLINE_LATEST, NUMBER) == 0);
    IS(0, syncline_batch_commit(writer));
    CHECK(get(reader, SYNCLINE_LATEST, NUMBER) == 5);
    number = 6;
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_set(writer, table, NUMBER, &number, sizeof number));
    IS(0, syncline_batch_roll_back(writer));
    IS(0, syncline_table_get(writer, table, NUMBER, &number, sizeof number, NULL));
    CHECK(number == 5 && get(reader, SYNCLINE_LATEST, NUMBER) == 5);

    IS(0, syncline_table_reader_generation(reader, &generation));
    CHECK(generation == 0);
    IS(0, syncline_table_fence(writer, table, &fence));
    IS(0, syncline_table_predecessor_died(writer, table));
    syncline_table_reader_close(reader);
    syncline_writer_close(writer);
}

static void eras(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "eras", "w");
    syncline_table table = open_table(writer, "t");
    syncline_table_reader *reader = read_table(bus, "eras", "t");
    struct syncline_seen first, seen;
    uint64_t oldest, generation, two[2];
    uint32_t changed[2];
    char text[20];
    struct syncline_read reads[] = {{.item = NUMBER, .buffer = &two[0], .size = 8},
                                    {.item = TEXT, .buffer = text, .size = sizeof text},
                                    {.item = NUMBER + 64, .buffer = &two[1], .size = 8}};
    IS(SYNCLINE_EGONE, syncline_table_reader_get(reader, 0, NUMBER, two, 8, NULL));
    IS(SYNCLINE_EGONE, syncline_table_reader_get(reader, 1, NUMBER, two, 8, NULL));
    IS(0, syncline_table_reader_seen(reader, SYNCLINE_LATEST, &first));
    IS(0, syncline_table_reader_changes_since(reader, SYNCLINE_LATEST, &first, NULL, 0));
    set(writer, table, NUMBER, 1);
    set(writer, table, NUMBER + 64, 10);
    IS(0, syncline_writer_edge(writer, NULL));
    set(writer, table, NUMBER, 2);
    IS(0, syncline_table_set(writer, table, TEXT, "two", 3));
    IS(0, syncline_writer_edge(writer, NULL));
    set(writer, table, NUMBER, 3);
    IS(0, syncline_table_reader_generation(reader, &generation));
    CHECK(generation == 2);
    CHECK(get(reader, 1, NUMBER) == 1 && get(reader, 2, NUMBER) == 2 && get(reader, SYNCLINE_LATEST, NUMBER) == 3);
    IS(0, syncline_table_reader_read(reader, 2, reads, 3));
    CHECK(two[0] == 2 && two[1] == 10 && reads[1].len == 3 && memcmp(text, "two", 3) == 0);
    IS(0, syncline_table_reader_read(reader, 1, reads, 3));
    CHECK(two[0] == 1 && reads[1].len == 0);
    IS(0, syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, 3));
    CHECK(two[0] == 3 && reads[1].len == 3);
    reads[1].size = 2;
    FAILS(SYNCLINE_ETOOLARGE, syncline_table_reader_read(reader, 2, reads, 3), "3 bytes: the buffer has 2");
    CHECK(reads[0].len == 8 && reads[1].len == 3 && reads[2].len == 8);

    IS(1, syncline_table_reader_changed(reader, 2, NUMBER));
    IS(0, syncline_table_reader_changed(reader, 2, NUMBER + 64));
    IS(1, syncline_table_reader_changed(reader, 1, NUMBER + 64));
    FAILS(SYNCLINE_EINVALID, syncline_table_reader_changed(reader, SYNCLINE_LATEST, NUMBER), "era");
    IS(0, syncline_table_reader_seen(reader, 2, &seen));
    IS(1, syncline_table_reader_changed_since(reader, SYNCLINE_LATEST, NUMBER, &seen));
    IS(0, syncline_table_reader_changed_since(reader, SYNCLINE_LATEST, TEXT, &seen));
    IS(0, syncline_table_reader_changed_since(reader, 2, NUMBER, &seen));
    IS(3, syncline_table_reader_changes_since(reader, SYNCLINE_LATEST, &first, changed, 2));
    CHECK(changed[0] == NUMBER && changed[1] == NUMBER + 64);
    IS(1, syncline_table_reader_changes_since(reader, SYNCLINE_LATEST, &seen, changed, 2));
    CHECK(changed[0] == NUMBER);
    seen = (struct syncline_seen){UINT64_MAX, UINT64_MAX}; /* nobody's: all that was ever set has changed since */
    IS(1, syncline_table_reader_changed_since(reader, SYNCLINE_LATEST, NUMBER, &seen));
    IS(3, syncline_table_reader_changes_since(reader, 2, &seen, changed, 2));

    IS(0, syncline_writer_edge(writer, NULL));
    IS(SYNCLINE_EGONE, syncline_table_reader_get(reader, 1, NUMBER, two, 8, NULL));
    IS(1, syncline_detail_gone(&oldest, &generation));
    CHECK(oldest == 2 && generation == 3);
    CHECK(get(reader, 2, NUMBER) == 2);
    syncline_table_reader_close(reader);
    syncline_writer_close(writer);
}

static void owners(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "owners", "first"), *next = open_writer(bus, "owners", "next");
    syncline_table table = open_table(writer, "t"), taken;
    syncline_table_reader *reader = read_table(bus, "owners", "t"), *late;
    const struct syncline_table_info *info;
    struct syncline_table_items other = {"number", &number_type, 99, 0};
    struct syncline_table_options options = {.size = sizeof options, .items = &other, .item_count = 1};
    syncline_tables *tables;
    const char *name;
    uint64_t number;
    int32_t pid;
    set(writer, table, NUMBER + 7, 70);
    IS(1, syncline_table_reader_writer(reader, &name, &pid));
    CHECK(strcmp(name, "first") == 0 && pid == getpid());
    IS(SYNCLINE_ETIMEOUT, syncline_table_open(next, "t", NULL, &taken));
    IS(0, syncline_bus_list_tables(bus, "owners", &tables));
    IS(1, syncline_tables_next(tables, &info));
    CHECK(strcmp(info->zone, "owners") == 0 && strcmp(info->name, "t") == 0 && strcmp(info->writer_name, "first") == 0);
    CHECK(info->items == ITEMS && info->bytes > ITEMS * 64 && info->readers == 1 && info->pid == getpid());
    IS(0, syncline_tables_next(tables, &info));
    CHECK(info == NULL);
    syncline_tables_close(tables);
    IS(0, syncline_bus_list_tables(bus, "nowhere", &tables));
    IS(0, syncline_tables_next(tables, &info));
    syncline_tables_close(tables);

    IS(0, syncline_table_close(writer, table));
    FAILS(SYNCLINE_EINVALID, syncline_table_set(writer, table, NUMBER + 7, &number, 8), "given up");
    FAILS(SYNCLINE_EINVALID, syncline_table_get(writer, table, NUMBER + 7, &number, 8, NULL), "another table");
    IS(SYNCLINE_EINVALID, syncline_table_close(writer, table));
    IS(0, syncline_table_reader_writer(reader, &name, NULL));
    CHECK(name == NULL && get(reader, SYNCLINE_LATEST, NUMBER + 7) == 70);
    IS(0, syncline_bus_list_tables(bus, NULL, &tables));
    while (syncline_tables_next(tables, &info) == 1 && strcmp(info->zone, "owners") != 0) {
    }
    CHECK(info != NULL && strcmp(info->writer_name, "") == 0 && info->pid == 0);
    syncline_tables_close(tables);

    FAILS(SYNCLINE_EMISMATCH, syncline_table_open(next, "t", &options, &taken), "declare");
    IS(0, syncline_table_open(next, "t", NULL, &taken));
    IS(0, syncline_table_get(next, taken, NUMBER + 7, &number, sizeof number, NULL));
    CHECK(number == 70);
    set(next, taken, NUMBER + 7, 71);
    CHECK(get(reader, SYNCLINE_LATEST, NUMBER + 7) == 71);
    IS(SYNCLINE_ETIMEOUT, syncline_table_reader_open(bus, "owners", "not there", 20000000, &late));
    CHECK(late == NULL);
    FAILS(SYNCLINE_EUNKNOWN, syncline_table_reader_open(bus, "owners", "not there", 0, &late), "not there");
    FAILS(SYNCLINE_EUNKNOWN, syncline_table_open(next, "not there", NULL, &taken), "declare");
    CHECK(taken == UINT64_MAX);
    IS(0, syncline_table_reader_open(bus, "owners", "t", LONG, &late));
    syncline_table_reader_close(late);
    syncline_table_reader_close(reader);
    syncline_writer_close(next);
    syncline_writer_close(writer);
}

static int readable(int descriptor, int timeout_ms) {
    struct pollfd poll_for = {.fd = descriptor, .events = POLLIN};
    return poll(&poll_for, 1, timeout_ms);
}

/* There is nothing, and the descriptor comes to say so: it may be readable for nothing, but not for ever. */
static void is_quiet(syncline_table_watch *watch, int descriptor) {
    uint32_t changed[1];
    int tries = 0;
    do {
        CHECK(++tries < 1000);
        IS(0, syncline_table_watch_try(watch, changed, 1, NULL, NULL));
    } while (readable(descriptor, 1) != 0);
}

static void watches(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "watches", "w");
    syncline_table table = open_table(writer, "t");
    syncline_table_reader *reader = read_table(bus, "watches", "t");
    const struct syncline_range ranges[] = {{NUMBER + 10, 10}, {TEXT, 1}};
    struct syncline_table_watch_options options = {
        .size = sizeof options, .name = "live", .ranges = ranges, .range_count = 2, .wait = SYNCLINE_WAIT_BLOCK};
    syncline_table_watch *live, *synced;
    uint32_t changed[4] = {0}, left = 99;
    uint64_t era = 99, commits, sealed;
    int descriptor;
    IS(0, syncline_table_watch_open(reader, &options, &live));
    options = (struct syncline_table_watch_options){.size = sizeof options, .name = "synced", .synced = 1};
    IS(0, syncline_table_watch_open(reader, &options, &synced));
    syncline_table_reader_close(reader); /* they live on */
    IS(0, syncline_table_watch_pollable(live, &descriptor));
    IS(0, syncline_table_watch_try(live, changed, 4, &left, &era));
    CHECK(left == 0 && era == 0);
    is_quiet(live, descriptor);
    IS(0, syncline_table_watch_next(live, 1000000, changed, 4, NULL, NULL));

    /* More than there is room for: nothing is lost. */
    for (uint32_t n = 0; n < 30; n++) {
        set(writer, table, NUMBER + n, n);
    }
    CHECK(readable(descriptor, -1) == 1);
    IS(4, syncline_table_watch_try(live, changed, 4, &left, &era));
    CHECK(changed[0] == NUMBER + 10 && changed[3] == NUMBER + 13 && left == 6 && era == 0);
    IS(0, syncline_table_watch_ignored(live, &commits));
    CHECK(commits == 20);
    set(writer, table, NUMBER + 10, 1); /* after those that are left */
    IS(4, syncline_table_watch_next(live, LONG, changed, 4, &left, NULL));
    CHECK(changed[0] == NUMBER + 14 && left == 2);
    IS(2, syncline_table_watch_try(live, changed, 4, &left, NULL));
    CHECK(changed[1] == NUMBER + 19 && left == 0);
    IS(1, syncline_table_watch_try(live, changed, 4, NULL, NULL));
    CHECK(changed[0] == NUMBER + 10);
    is_quiet(live, descriptor);

    IS(0, syncline_table_watch_try(synced, changed, 4, NULL, NULL));
    IS(0, syncline_writer_edge(writer, &sealed));
    IS(4, syncline_table_watch_next(synced, LONG, changed, 4, &left, &era));
    CHECK(changed[0] == NUMBER && left == 26 && era == sealed);
    while (left != 0) {
        CHECK(syncline_table_watch_try(synced, changed, 4, &left, &era) > 0 && era == sealed);
    }
    CHECK(changed[1] == NUMBER + 29);
    IS(0, syncline_table_watch_try(synced, changed, 4, NULL, NULL));

    /* Seldom: the first at once, what follows later and together. */
    reader = read_table(bus, "watches", "t");
    options = (struct syncline_table_watch_options){.size = sizeof options, .name = "slow", .every_ns = LONG};
    syncline_table_watch_close(synced);
    IS(0, syncline_table_watch_open(reader, &options, &synced));
    set(writer, table, NUMBER, 1);
    IS(1, syncline_table_watch_next(synced, LONG, changed, 4, NULL, NULL));
    set(writer, table, NUMBER, 2);
    IS(0, syncline_table_watch_try(synced, changed, 4, NULL, NULL));
    IS(0, syncline_table_watch_pollable(synced, &descriptor));
    is_quiet(synced, descriptor);
    syncline_table_watch_close(synced);
    syncline_table_watch_close(live);
    syncline_table_reader_close(reader);
    syncline_writer_close(writer);
}

/* What the callback shares with its starter. */
struct told {
    pthread_mutex_t lock;
    pthread_cond_t more;
    syncline_on_change *on_change;
    uint64_t value, calls;
    int stopped, says;
};

static int told(void *context, syncline_table_reader *reader, const uint32_t *changed, size_t count, uint64_t era) {
    struct told *told = context;
    int says;
    syncline_table_reader_close(reader); /* does nothing */
    CHECK(count == 1 && changed[0] == NUMBER + 3 && era == 0);
    pthread_mutex_lock(&told->lock);
    told->value = get(reader, SYNCLINE_LATEST, NUMBER + 3);
    told->calls++;
    told->stopped = syncline_on_change_stop(told->on_change);
    says = told->says == SYNCLINE_EUNKNOWN ? syncline_table_reader_get(reader, SYNCLINE_LATEST, ITEMS, NULL, 0, NULL) : told->says;
    pthread_cond_signal(&told->more);
    pthread_mutex_unlock(&told->lock);
    return says;
}

static void wait_told(struct told *told, uint64_t value) {
    pthread_mutex_lock(&told->lock);
    while (told->value != value) {
        pthread_cond_wait(&told->more, &told->lock);
    }
    CHECK(told->stopped == SYNCLINE_EINVALID);
    pthread_mutex_unlock(&told->lock);
}

static void callbacks(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "callbacks", "w");
    syncline_table table = open_table(writer, "t");
    syncline_table_reader *reader = read_table(bus, "callbacks", "t");
    const struct syncline_range range = {NUMBER + 3, 1};
    struct syncline_table_watch_options options = {.size = sizeof options, .name = "cb", .ranges = &range, .range_count = 1};
    struct told state = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    static const int says[] = {0, 42, SYNCLINE_EUNKNOWN, -1000};
    int status;
    pid_t child;
    for (uint64_t round = 0; round < 4; round++) {
        uint64_t value = 10 * round + 1;
        uint64_t calls = state.calls;
        pthread_mutex_lock(&state.lock); /* it sees the handle */
        state.says = says[round];
        IS(0, syncline_on_change_start(reader, &options, told, &state, &state.on_change));
        pthread_mutex_unlock(&state.lock);
        set(writer, table, NUMBER, value);
        set(writer, table, NUMBER + 3, value);
        wait_told(&state, value);
        if (round == 0) {
            set(writer, table, NUMBER + 3, ++value);
            wait_told(&state, value);
            child = fork();
            if (child == 0) { /* has no such thread */
                int forked = syncline_on_change_stop(state.on_change);
                uint64_t number;
                _exit(forked == SYNCLINE_EFORKED && syncline_table_reader_items(reader, NULL) == SYNCLINE_EINVALID &&
                              syncline_table_reader_get(reader, SYNCLINE_LATEST, NUMBER, &number, 8, NULL) == SYNCLINE_EFORKED &&
                              syncline_table_reader_generation(reader, &number) == SYNCLINE_EFORKED &&
                              syncline_table_set(writer, table, NUMBER, &number, 8) == SYNCLINE_EFORKED &&
                              syncline_table_get(writer, table, NUMBER, &number, 8, NULL) == SYNCLINE_EFORKED &&
                              syncline_table_fence(writer, table, &number) == SYNCLINE_EFORKED &&
                              syncline_table_close(writer, table) == SYNCLINE_EFORKED
                          ? 0
                          : 1);
            }
            CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        switch (round) {
        case 2:
            FAILS(SYNCLINE_EUNKNOWN, syncline_on_change_stop(state.on_change), "item 104");
            break;
        case 3:
            FAILS(SYNCLINE_EINVALID, syncline_on_change_stop(state.on_change), "returned -1000");
            break;
        default:
            IS(says[round], syncline_on_change_stop(state.on_change));
        }
        set(writer, table, NUMBER + 3, 5); /* told to nobody */
        CHECK(state.value == value && state.calls == calls + (round == 0 ? 2 : 1));
    }
    IS(0, syncline_on_change_stop(NULL));
    syncline_table_reader_close(reader);
    syncline_writer_close(writer);
}

static void misuse(syncline_bus *bus) {
    syncline_writer *writer = open_writer(bus, "misuse", "w"), *other = open_writer(bus, "misuse", "other");
    syncline_table table = open_table(writer, "t"), foreign = open_table(other, "u"), none;
    syncline_table_reader *reader = read_table(bus, "misuse", "t"), *no_reader;
    struct syncline_table_options options = {.size = sizeof options, .items = items, .item_count = 4, .zero = 1};
    struct syncline_table_items bad = items[0];
    struct syncline_table_watch_options watching = {.size = sizeof watching, .name = "w"};
    struct syncline_range range = {0, 0};
    struct syncline_zone_options revocable = {.size = sizeof revocable, .pace = SYNCLINE_REVOCABLE};
    struct syncline_read reads[2] = {{.item = 0}, {.item = 0}};
    struct syncline_seen seen;
    const struct syncline_group *group;
    const struct syncline_table_info *info;
    syncline_table_watch *watch;
    syncline_on_change *on_change;
    syncline_tables *tables;
    uint64_t value = 1;
    uint32_t item, one[1];
    void *place;
    int descriptor;
    const char *name;
    /* NULL */
    IS(SYNCLINE_EINVALID, syncline_table_open(NULL, "t", &options, &none));
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, NULL, NULL, &none));
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_close(NULL, table));
    IS(SYNCLINE_EINVALID, syncline_table_find(NULL, table, "sample", 0, NULL, &item));
    IS(SYNCLINE_EINVALID, syncline_table_find(writer, table, "sample", 0, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_group(NULL, table, 0, &group));
    IS(SYNCLINE_EINVALID, syncline_table_group(writer, table, 0, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_set(NULL, table, NUMBER, &value, 8));
    IS(SYNCLINE_EINVALID, syncline_table_set(writer, table, NUMBER, NULL, 8));
    IS(SYNCLINE_EINVALID, syncline_batch_set(NULL, table, NUMBER, &value, 8));
    IS(SYNCLINE_EINVALID, syncline_table_get(NULL, table, NUMBER, &value, 8, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_get(writer, table, NUMBER, NULL, 8, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_fence(NULL, table, &value));
    IS(SYNCLINE_EINVALID, syncline_table_fence(writer, table, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_predecessor_died(NULL, table));
    IS(SYNCLINE_EINVALID, syncline_table_reader_open(NULL, "misuse", "t", 0, &no_reader));
    IS(SYNCLINE_EINVALID, syncline_table_reader_open(bus, NULL, "t", 0, &no_reader));
    IS(SYNCLINE_EINVALID, syncline_table_reader_open(bus, "misuse", NULL, 0, &no_reader));
    IS(SYNCLINE_EINVALID, syncline_table_reader_open(bus, "misuse", "t", 0, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_reader_items(NULL, &item));
    IS(SYNCLINE_EINVALID, syncline_table_reader_group(NULL, 0, &group));
    IS(SYNCLINE_EINVALID, syncline_table_reader_find(NULL, "sample", 0, NULL, &item));
    IS(SYNCLINE_EINVALID, syncline_table_reader_writer(NULL, &name, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_reader_generation(NULL, &value));
    IS(SYNCLINE_EINVALID, syncline_table_reader_get(NULL, SYNCLINE_LATEST, NUMBER, &value, 8, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_reader_get(reader, SYNCLINE_LATEST, NUMBER, NULL, 8, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_reader_read(NULL, SYNCLINE_LATEST, reads, 1));
    IS(SYNCLINE_EINVALID, syncline_table_reader_read(reader, SYNCLINE_LATEST, NULL, 1));
    IS(SYNCLINE_EINVALID, syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, 0));
    IS(SYNCLINE_EINVALID, syncline_table_reader_changed(NULL, 1, NUMBER));
    IS(SYNCLINE_EINVALID, syncline_table_reader_seen(NULL, SYNCLINE_LATEST, &seen));
    IS(SYNCLINE_EINVALID, syncline_table_reader_seen(reader, SYNCLINE_LATEST, NULL));
    IS(0, syncline_table_reader_seen(reader, SYNCLINE_LATEST, &seen));
    IS(SYNCLINE_EINVALID, syncline_table_reader_changed_since(NULL, SYNCLINE_LATEST, NUMBER, &seen));
    IS(SYNCLINE_EINVALID, syncline_table_reader_changed_since(reader, SYNCLINE_LATEST, NUMBER, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_reader_changes_since(NULL, SYNCLINE_LATEST, &seen, NULL, 0));
    IS(SYNCLINE_EINVALID, syncline_table_reader_changes_since(reader, SYNCLINE_LATEST, &seen, NULL, 1));
    FAILS(SYNCLINE_EINVALID, syncline_table_watch_open(NULL, &watching, &watch), "table reader");
    IS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, NULL, &watch));
    IS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, &watching, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_watch_try(NULL, one, 1, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_watch_next(NULL, 0, one, 1, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_watch_pollable(NULL, &descriptor));
    IS(SYNCLINE_EINVALID, syncline_table_watch_ignored(NULL, &value));
    FAILS(SYNCLINE_EINVALID, syncline_on_change_start(reader, &watching, NULL, NULL, &on_change), "callback");
    CHECK(on_change == NULL);
    IS(SYNCLINE_EINVALID, syncline_on_change_start(NULL, &watching, told, NULL, &on_change));
    IS(SYNCLINE_EINVALID, syncline_bus_list_tables(NULL, NULL, &tables));
    IS(SYNCLINE_EINVALID, syncline_bus_list_tables(bus, "", &tables));
    IS(SYNCLINE_EINVALID, syncline_bus_list_tables(bus, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_tables_next(NULL, &info));
    syncline_table_reader_close(NULL);
    syncline_table_watch_close(NULL);
    syncline_tables_close(NULL);

    /* declarations */
    FAILS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none), "`zero`");
    options.zero = 0;
    options.item_count = UINT32_MAX;
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none));
    options.items = &bad;
    options.item_count = 1;
    bad.max_len = 3;
    FAILS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none), "leave it out");
    bad = (struct syncline_table_items){"bytes", NULL, 1, 0};
    FAILS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none), "longest value");
    bad = (struct syncline_table_items){"number", &number_type, UINT32_MAX, 0};
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none));
    bad = (struct syncline_table_items){"\n", &number_type, 1, 0};
    FAILS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none), "control");
    options.size = 7;
    FAILS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none), "sizeof(struct syncline_table_options)");
    CHECK(none == UINT64_MAX);
    CHECK(syncline_table_open(writer, "t", NULL, &none) < 0); /* its own */
    options = (struct syncline_table_options){.size = sizeof options, .items = items, .item_count = 4};
    syncline_writer *revoked = open_writer_in(bus, "misuse, revocable", "w", &revocable);
    FAILS(SYNCLINE_EINVALID, syncline_table_open(revoked, "t", &options, &none), "rolled back");
    syncline_writer_close(revoked);

    /* tables and items that are none, or another's */
    FAILS(SYNCLINE_EINVALID, syncline_table_set(writer, foreign, NUMBER, &value, 8), "another writer");
    IS(SYNCLINE_EINVALID, syncline_table_set(writer, UINT64_MAX, NUMBER, &value, 8));
    IS(SYNCLINE_EINVALID, syncline_table_set(writer, 0, NUMBER, &value, 8));
    IS(SYNCLINE_EINVALID, syncline_table_set(writer, table + 1, NUMBER, &value, 8));
    IS(SYNCLINE_EINVALID, syncline_table_fence(writer, foreign, &value));
    IS(SYNCLINE_EINVALID, syncline_table_predecessor_died(writer, foreign));
    IS(SYNCLINE_EINVALID, syncline_table_group(writer, foreign, 0, &group));
    IS(SYNCLINE_EINVALID, syncline_table_find(writer, foreign, NULL, 0, NULL, &item));
    IS(SYNCLINE_EINVALID, syncline_table_close(writer, foreign));
    FAILS(SYNCLINE_EUNKNOWN, syncline_table_set(writer, table, ITEMS, &value, 8), "item 104");
    IS(SYNCLINE_EUNKNOWN, syncline_table_set(writer, table, UINT32_MAX, &value, 8));
    IS(SYNCLINE_EUNKNOWN, syncline_table_get(writer, table, ITEMS, &value, 8, NULL));
    IS(SYNCLINE_EUNKNOWN, syncline_table_reader_get(reader, SYNCLINE_LATEST, ITEMS, &value, 8, NULL));
    IS(SYNCLINE_EUNKNOWN, syncline_table_reader_changed(reader, SYNCLINE_LATEST, UINT32_MAX));
    reads[1].item = ITEMS;
    IS(SYNCLINE_EUNKNOWN, syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, 2));
    reads[1] = (struct syncline_read){.item = NUMBER, .size = 8};
    FAILS(SYNCLINE_EINVALID, syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, 2), "buffer");
    reads[1].zero = 1;
    FAILS(SYNCLINE_EINVALID, syncline_table_reader_read(reader, SYNCLINE_LATEST, reads, 2), "`zero`");
    FAILS(SYNCLINE_EUNKNOWN, syncline_table_find(writer, table, "number", 100, NULL, &item), "number[100]");
    CHECK(item == UINT32_MAX);
    FAILS(SYNCLINE_EUNKNOWN, syncline_table_reader_find(reader, "nothing", 0, NULL, &item), "nothing");
    IS(SYNCLINE_EUNKNOWN, syncline_table_reader_find(reader, NULL, ITEMS, NULL, &item));
    FAILS(SYNCLINE_EMISMATCH, syncline_table_reader_find(reader, "number", 0, &sample_type, &item), "test.sample");
    FAILS(SYNCLINE_EMISMATCH, syncline_table_find(writer, table, NULL, SLICE, &number_type, &item), "u64");

    /* lengths and turns */
    FAILS(SYNCLINE_EBADVALUE, syncline_table_set(writer, table, NUMBER, &value, 7), "8 bytes each");
    IS(SYNCLINE_EBADVALUE, syncline_table_set(writer, table, NUMBER, &value, 0));
    FAILS(SYNCLINE_EBADVALUE, syncline_table_set(writer, table, SLICE, &value, 7), "whole number");
    IS(SYNCLINE_ETOOLARGE, syncline_table_set(writer, table, TEXT, "123456789012345678901", 21));
    IS(SYNCLINE_ETOOLARGE, syncline_table_set(writer, table, TEXT, &value, SIZE_MAX));
    FAILS(SYNCLINE_ETOOLARGE, syncline_table_get(writer, table, NUMBER, &value, 7, NULL), "the buffer has 7");
    FAILS(SYNCLINE_EINVALID, syncline_batch_set(writer, table, NUMBER, &value, 8), "no batch");
    /* The lane of the table's changes is the library's; one that is opened after it has the type that it was opened with. */
    syncline_lane lane = open_lane(writer, "bytes", NULL), numbers = open_lane(writer, "numbers", &number_type);
    IS(0, syncline_writer_publish(writer, lane, "123", 3));
    IS(0, syncline_writer_publish(writer, numbers, &value, 8));
    IS(SYNCLINE_EBADVALUE, syncline_writer_publish(writer, numbers, &value, 7));
    FAILS(SYNCLINE_EINVALID, syncline_writer_publish(writer, lane - 1, &value, 8), "another writer");
    IS(SYNCLINE_EINVALID, syncline_writer_loan(writer, lane - 1, 8, &place));
    IS(0, syncline_writer_loan(writer, lane, 1, &place));
    FAILS(SYNCLINE_EINVALID, syncline_table_set(writer, table, NUMBER, &value, 8), "a loan is open");
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none));
    IS(0, syncline_loan_drop(writer));
    IS(0, syncline_batch_begin(writer));
    FAILS(SYNCLINE_EINVALID, syncline_table_set(writer, table, NUMBER, &value, 8), "a batch is open");
    IS(SYNCLINE_EINVALID, syncline_table_open(writer, "v", &options, &none));
    IS(SYNCLINE_EINVALID, syncline_table_close(writer, table));
    IS(SYNCLINE_EBADVALUE, syncline_batch_set(writer, table, NUMBER, &value, 9));
    IS(SYNCLINE_EUNKNOWN, syncline_batch_set(writer, table, ITEMS, &value, 8));
    IS(0, syncline_writer_loan(writer, lane, 1, &place));
    IS(SYNCLINE_EINVALID, syncline_batch_set(writer, table, NUMBER, &value, 8));
    IS(0, syncline_batch_roll_back(writer));

    /* watches */
    watching.ranges = &range;
    watching.range_count = 1;
    FAILS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, &watching, &watch), "0..0");
    range = (struct syncline_range){ITEMS - 1, 2};
    FAILS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, &watching, &watch), "103..105");
    range = (struct syncline_range){1, UINT32_MAX};
    IS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, &watching, &watch));
    CHECK(watch == NULL);
    range = (struct syncline_range){0, ITEMS};
    watching.wait = 4;
    FAILS(SYNCLINE_EINVALID, syncline_table_watch_open(reader, &watching, &watch), "enum syncline_wait");
    watching.wait = 0;
    IS(0, syncline_table_watch_open(reader, &watching, &watch));
    FAILS(SYNCLINE_EINVALID, syncline_table_watch_try(watch, one, 0, NULL, NULL), "items");
    IS(SYNCLINE_EINVALID, syncline_table_watch_try(watch, NULL, 1, NULL, NULL));
    IS(SYNCLINE_EINVALID, syncline_table_watch_pollable(watch, NULL));
    syncline_table_watch_close(watch);
    syncline_table_reader_close(reader);
    syncline_writer_close(other);
    syncline_writer_close(writer);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    values(bus);
    eras(bus);
    owners(bus);
    watches(bus);
    callbacks(bus);
    misuse(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
