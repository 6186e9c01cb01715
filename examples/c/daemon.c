/* What fork does to handles: the child that goes on as the daemon gets SYNCLINE_EFORKED from those of its parent, closes them and connects
 * anew; the parent's are none the worse for it.
 *
 *     cc -std=c11 daemon.c $(pkg-config --cflags --libs syncline) -o daemon
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <syncline.h>
#include <unistd.h>

#define OR_DIE(call) ((call) < 0 ? (fprintf(stderr, "daemon: %s\n", syncline_detail()), exit(1)) : (void)0)

static syncline_bus *bus;
static syncline_writer *writer;
static syncline_lane lane;

static void attach(const char *name) {
    struct syncline_writer_options options = {.size = sizeof options, .zone = "plant", .name = name};
    OR_DIE(syncline_bus_connect(NULL, &bus));
    OR_DIE(syncline_writer_open(bus, &options, &writer));
    OR_DIE(syncline_lane_open(writer, "status", NULL, NULL, &lane));
}

int main(void) {
    attach("parent");
    OR_DIE(syncline_writer_publish(writer, lane, "parent", 6));
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (syncline_writer_publish(writer, lane, "never", 5) != SYNCLINE_EFORKED || syncline_batch_begin(writer) != SYNCLINE_EFORKED) {
            fprintf(stderr, "daemon: expected SYNCLINE_EFORKED: %s\n", syncline_detail());
            return 1;
        }
        syncline_writer_close(writer);
        syncline_bus_close(bus);
        attach("child");
        OR_DIE(syncline_writer_publish(writer, lane, "child", 5));
    } else {
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "daemon: the child failed\n");
            return 1;
        }
        OR_DIE(syncline_writer_publish(writer, lane, "parent still", 12));
    }
    OR_DIE(syncline_writer_edge(writer, NULL));
    syncline_writer_close(writer);
    syncline_bus_close(bus);
    return 0;
}
