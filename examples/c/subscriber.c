/* Prints what publisher.c publishes, until it has gone: subscriber [live]
 * By default in whole eras; live, each message as soon as it is committed.
 *
 *     cc -std=c11 subscriber.c $(pkg-config --cflags --libs syncline) -o subscriber
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syncline.h>

#include "pose.h"

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "subscriber: %s\n", syncline_detail()), exit(1)) : (void)0)

static void print(syncline_reader *reader, const struct syncline_message *message) {
    printf("%s %" PRIu64 ": ", message->channel, message->sequence);
    if (strcmp(message->channel, "pose") == 0) {
        struct pose pose; /* a copy: the writer can not change it while we look */
        OR_DIE(syncline_message_copy(reader, &pose, sizeof pose));
        printf("(%g, %g) [%" PRIu32 ", %" PRIu32 "] %.7s %s\n", pose.x, pose.y, pose.quality[0], pose.quality[1], pose.name,
               pose.good ? "good" : "bad");
    } else {
        printf("%.*s\n", (int)message->len, (const char *)message->data); /* in place: we trust the writer */
    }
}

int main(int argc, char **argv) {
    const bool live = argc > 1 && strcmp(argv[1], "live") == 0;
    const struct syncline_type bytes = SYNCLINE_TYPE_BYTES;
    const struct syncline_channel channels[] = {{"pose", &pose_type}, {"note", &bytes}};
    struct syncline_reader_options options = {
        .size = sizeof options, .zone = "plant", .name = "subscriber.c", .channels = channels, .channel_count = 2, .synced = !live};
    syncline_bus *bus;
    syncline_reader *reader;
    const struct syncline_message *message;
    const struct syncline_era *era;
    unsigned closed = 0;

    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_reader_open(bus, &options, &reader));
    while (closed < options.channel_count) { /* until the one writer of each channel has gone */
        int got = live ? syncline_reader_wait(reader, -1, &message) : syncline_reader_wait_era(reader, -1, &era);
        if (got == SYNCLINE_ECLOSED) {
            closed++;
            continue;
        }
        OR_DIE(got);
        if (live) {
            print(reader, message);
            continue;
        }
        printf("era %" PRIu64 "\n", era->number);
        while ((got = syncline_era_next(reader, &message)) > 0) {
            print(reader, message);
        }
        OR_DIE(got);
    }
    syncline_reader_close(reader);
    syncline_bus_close(bus);
    return 0;
}
