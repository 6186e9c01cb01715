/* Takes turns with other processes at a number in a file: lock FILE [COUNT]
 * Each turn adds one to it, publishes the sum with the number of the turn, and gives the lock back with that, in one step.
 *
 *     cc -std=c11 lock.c $(pkg-config --cflags --libs syncline) -o lock
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <syncline.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "lock: %s\n", syncline_detail()), exit(1)) : (void)0)

static const struct syncline_type u64 = SYNCLINE_TYPE_PLAIN(uint64_t, "u64");

/* The number in the file; 0 if there is none. */
static uint64_t read_sum(const char *path) {
    uint64_t sum = 0;
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%" SCNu64, &sum) != 1) {
            sum = 0;
        }
        fclose(file);
    }
    return sum;
}

static void write_sum(const char *path, uint64_t sum) {
    FILE *file = fopen(path, "w");
    if (file == NULL || fprintf(file, "%" PRIu64 "\n", sum) < 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: lock FILE [COUNT]\n");
        return 2;
    }
    const char *const path = argv[1];
    const long count = argc > 2 ? strtol(argv[2], NULL, 10) : 10;
    const struct syncline_writer_options options = {.size = sizeof options, .zone = "bank", .name = "teller"};
    syncline_bus *bus;
    syncline_writer *writer;
    syncline_lane turns, sums;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_writer_open(bus, &options, &writer));
    OR_DIE(syncline_lane_open(writer, "turn", &u64, NULL, &turns));
    OR_DIE(syncline_lane_open(writer, "sum", &u64, NULL, &sums));
    for (long i = 0; i < count; i++) {
        syncline_lock *lock;
        uint64_t turn, sum;
        OR_DIE(syncline_lock_acquire(bus, "bank", "account", -1, &lock)); /* waits for ever */
        OR_DIE(syncline_lock_fence(lock, &turn));
        if (syncline_lock_predecessor_died(lock) > 0) {
            fprintf(stderr, "lock: whoever had its turn before died: the sum may not have been published\n");
        }
        sum = read_sum(path) + 1;
        write_sum(path, sum);
        OR_DIE(syncline_batch_begin(writer));
        OR_DIE(syncline_batch_push(writer, turns, &turn, sizeof turn));
        OR_DIE(syncline_batch_push(writer, sums, &sum, sizeof sum));
        OR_DIE(syncline_lock_commit(lock, writer));
    }
    printf("%ld turns\n", count);
    syncline_writer_close(writer);
    syncline_bus_close(bus);
    return 0;
}
