/* The C side of tests whose other side is Rust: `peer markers` prints what a live reader with markers is handed, up to the edge with tag 0;
 * `peer permits ROUNDS` is a writer in lockstep, which publishes the number of each round. */
#include "check.h"

static const struct syncline_type number_type = SYNCLINE_TYPE_PLAIN(uint64_t, "u64");
static const struct syncline_channel channel = {"number", &number_type};

static void print_markers(syncline_bus *bus) {
    struct syncline_reader_options options = {
        .size = sizeof options, .zone = "peers", .name = "peer.c", .channels = &channel, .channel_count = 1, .markers = 1};
    syncline_reader *reader;
    const struct syncline_message *message;
    const struct syncline_edge *edge;
    IS(0, syncline_reader_open(bus, &options, &reader));
    do {
        IS(1, syncline_reader_wait_live(reader, -1, &message, &edge));
        if (message != NULL) {
            uint64_t number;
            IS(0, syncline_message_copy(reader, &number, sizeof number));
            printf("%" PRIu64 "\n", number);
            continue;
        }
        printf("edge %" PRIu64 " %s at %" PRIu64 " tag", edge->era, syncline_reason_name(edge->reason), edge->time_ns);
        printf(edge->has_tag ? " %" PRIu64 : " none", edge->tag);
        for (uint32_t i = 0; i < edge->straddler_count; i++) {
            printf(" straddled by %" PRIu32, edge->straddlers[i]);
        }
        printf("\n");
    } while (message != NULL || edge->has_tag == 0 || edge->tag != 0);
    syncline_reader_close(reader);
}

static void permit(syncline_bus *bus, uint64_t rounds) {
    struct syncline_reader_options options = {
        .size = sizeof options, .zone = "peers", .name = "peer.c", .channels = &channel, .channel_count = 1, .synced = 1};
    syncline_writer *writer = open_writer(bus, "peers", "peer.c");
    syncline_lane lane = open_lane(writer, "number", &number_type);
    syncline_reader *reader;
    const struct syncline_era *era;
    uint64_t permitted;
    IS(0, syncline_reader_open(bus, &options, &reader));
    for (uint64_t number = 1; number <= rounds; number++) {
        IS(0, syncline_writer_publish(writer, lane, &number, sizeof number));
        IS(0, syncline_writer_permit(writer, &permitted));
        CHECK(permitted == number);
        IS(1, syncline_reader_wait_era(reader, -1, &era));
        CHECK(era->number == number);
    }
    syncline_reader_close(reader);
    syncline_writer_close(writer);
}

int main(int argc, char **argv) {
    syncline_bus *bus = connect_bus();
    CHECK(argc >= 2);
    if (strcmp(argv[1], "markers") == 0) {
        print_markers(bus);
    } else {
        CHECK(argc == 3);
        permit(bus, strtoull(argv[2], NULL, 10));
    }
    syncline_bus_close(bus);
    return 0;
}
