// The header in C++17: initialisers, options, a message there and back. Prints "ok".
#include <syncline.h>

#include <cstdio>
#include <cstring>
#include <string>

namespace {

struct Pose {
    double x, y;
    std::uint32_t quality[2];
};

const syncline_field pose_fields[] = {
    SYNCLINE_FIELD(Pose, x, SYNCLINE_F64),
    SYNCLINE_FIELD(Pose, y, SYNCLINE_F64),
    SYNCLINE_FIELD(Pose, quality, SYNCLINE_U32),
};
constexpr syncline_type pose_type = SYNCLINE_TYPE(Pose, "test.pose", pose_fields);
static_assert(pose_type.align == alignof(Pose) && pose_type.field_count == 3, "the type is a constant");

int die(const char *what) {
    std::fprintf(stderr, "%s: %s\n", what, syncline_detail());
    return 1;
}

}  // namespace

int main() {
    syncline_bus *bus = nullptr;
    syncline_writer *writer = nullptr;
    syncline_reader *reader = nullptr;
    syncline_lane lane = 0;
    if (syncline_bus_connect(nullptr, &bus) < 0) return die("connect");

    syncline_writer_options writer_options = {};
    writer_options.size = sizeof writer_options;
    writer_options.zone = "cpp";
    writer_options.name = "w";
    syncline_zone_options zone_options = {};
    zone_options.size = sizeof zone_options;
    zone_options.pace = SYNCLINE_LOCKSTEP;
    writer_options.zone_options = &zone_options;
    if (syncline_writer_open(bus, &writer_options, &writer) < 0) return die("writer");
    if (syncline_lane_open(writer, "pose", &pose_type, nullptr, &lane) < 0) return die("lane");

    const syncline_channel channel = {"pose", &pose_type};
    syncline_reader_options reader_options = {};
    reader_options.size = sizeof reader_options;
    reader_options.zone = "cpp";
    reader_options.name = "r";
    reader_options.channels = &channel;
    reader_options.channel_count = 1;
    if (syncline_reader_open(bus, &reader_options, &reader) < 0) return die("reader");

    const Pose pose = {1.5, -2.5, {3, 4}};
    if (syncline_writer_publish(writer, lane, &pose, sizeof pose) < 0) return die("publish");
    const syncline_message *message = nullptr;
    Pose copy;
    if (syncline_reader_wait(reader, 1000000000, &message) != 1) return die("wait");
    if (syncline_message_copy(reader, &copy, sizeof copy) < 0) return die("copy");
    if (std::memcmp(&copy, &pose, sizeof pose) != 0 || std::string(message->channel) != "pose") return die("compare");
    const syncline_edge *edge = nullptr;
    std::uint64_t era = 0;
    if (syncline_writer_permit(writer, &era) < 0) return die("permit");
    if (syncline_reader_edge_info(reader, era, &edge) != 1 || edge->reason != SYNCLINE_REASON_PERMITS) return die("edge");
    syncline_stats *stats = nullptr;
    const syncline_zone_stats *counted = nullptr;
    const syncline_lane_stats *counted_lane = nullptr;
    if (syncline_stats_open(bus, "cpp", &stats) < 0 || syncline_stats_read(stats, &counted) < 0) return die("stats");
    if (syncline_stats_lane(stats, 0, &counted_lane) != 1 || counted_lane->messages != 1) return die("lane's stats");
    syncline_stats_close(stats);
    const syncline_table_items items[] = {{"pose", &pose_type, 2, 0}};
    syncline_table_options table_options = {};
    table_options.size = sizeof table_options;
    table_options.items = items;
    table_options.item_count = 1;
    syncline_table table = 0;
    syncline_table_reader *table_reader = nullptr;
    if (syncline_table_open(writer, "poses", &table_options, &table) < 0) return die("table");
    if (syncline_table_set(writer, table, 1, &pose, sizeof pose) < 0) return die("set");
    if (syncline_table_reader_open(bus, "cpp", "poses", 0, &table_reader) < 0) return die("table reader");
    copy = {};
    if (syncline_table_reader_get(table_reader, SYNCLINE_LATEST, 1, &copy, sizeof copy, nullptr) < 0) return die("get");
    if (std::memcmp(&copy, &pose, sizeof pose) != 0) return die("compare the item");
    syncline_table_reader_close(table_reader);
    syncline_reader_close(reader);
    syncline_writer_close(writer);
    syncline_bus_close(bus);
    std::puts("ok");
    return 0;
}
