/* Publishes poses and a note about each, as batches, and seals every tenth: publisher [COUNT]
 *
 *     cc -std=c11 publisher.c $(pkg-config --cflags --libs syncline) -o publisher
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <syncline.h>

#include "pose.h"

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "publisher: %s\n", syncline_detail()), exit(1)) : (void)0)

int main(int argc, char **argv) {
    const unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    struct syncline_writer_options options = {
        .size = sizeof options, .zone = "plant", .name = "publisher.c", .room_timeout_ns = 5000000000};
    syncline_bus *bus;
    syncline_writer *writer;
    syncline_lane poses, notes;
    uint64_t era = 0;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_writer_open(bus, &options, &writer));
    OR_DIE(syncline_lane_open(writer, "pose", &pose_type, NULL, &poses));
    OR_DIE(syncline_lane_open(writer, "note", NULL, NULL, &notes));
    OR_DIE(syncline_bus_wait_readers(bus, "plant", "note", 1, -1, NULL));

    for (unsigned i = 0; i < count; i++) {
        char note[32];
        struct pose *pose;
        void *place;
        int len = snprintf(note, sizeof note, "pose %u", i);
        OR_DIE(syncline_batch_begin(writer)); /* nobody sees one without the other */
        OR_DIE(syncline_writer_loan(writer, poses, sizeof *pose, &place));
        pose = place;
        *pose = (struct pose){.x = i, .y = -0.5 * i, .quality = {i, 2 * i}, .name = "arm", .good = i % 2 == 0};
        OR_DIE(syncline_loan_publish(writer, sizeof *pose));
        OR_DIE(syncline_batch_push(writer, notes, note, (size_t)len));
        OR_DIE(syncline_batch_commit(writer));
        if (i % 10 == 9) {
            OR_DIE(syncline_writer_edge(writer, &era));
        }
    }
    OR_DIE(syncline_writer_edge(writer, &era));
    printf("published %u poses in %" PRIu64 " eras\n", count, era);
    syncline_writer_close(writer);
    syncline_bus_close(bus);
    return 0;
}
