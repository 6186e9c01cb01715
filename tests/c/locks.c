/* Locks: held, waited for, watched, given back with a batch, and of a process that forks or dies. Prints "ok". */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

static uint64_t fence_of(syncline_lock *lock) {
    uint64_t fence;
    IS(0, syncline_lock_fence(lock, &fence));
    return fence;
}

static void one_after_the_other(syncline_bus *bus) {
    syncline_bus *other = connect_bus();
    syncline_lock *lock, *none = (syncline_lock *)bus, *next;
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    IS(0, syncline_lock_predecessor_died(lock));
    IS(0, syncline_lock_check(lock));
    IS(0, syncline_lock_acquire(other, "z", "l", 0, &none));
    CHECK(none == NULL);
    IS(0, syncline_lock_acquire(bus, "z", "l", SECOND / 100, &none)); /* it is its own */
    IS(1, syncline_lock_acquire(other, "z", "m", SECOND, &next));
    CHECK(fence_of(next) > fence_of(lock));
    syncline_lock_release(next);
    const uint64_t fence = fence_of(lock);
    syncline_lock_release(lock);
    IS(1, syncline_lock_acquire(other, "z", "l", -1, &next));
    CHECK(fence_of(next) > fence);
    IS(0, syncline_lock_predecessor_died(next));
    syncline_bus_close(other); /* the handle keeps what it needs */
    IS(0, syncline_lock_check(next));
    IS(0, syncline_lock_acquire(bus, "z", "l", 0, &none));
    syncline_lock_release(next);
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    syncline_lock_release(lock);
}

static void bad_input(syncline_bus *bus) {
    syncline_lock *lock;
    syncline_lock_watch *watch;
    struct syncline_lock_state state;
    uint64_t fence;
    FAILS(SYNCLINE_EINVALID, syncline_lock_acquire(NULL, "z", "l", 0, &lock), "bus");
    FAILS(SYNCLINE_EINVALID, syncline_lock_acquire(bus, NULL, "l", 0, &lock), "zone name");
    FAILS(SYNCLINE_EINVALID, syncline_lock_acquire(bus, "z", NULL, 0, &lock), "lock name");
    FAILS(SYNCLINE_EINVALID, syncline_lock_acquire(bus, "z", "l", 0, NULL), "lock");
    FAILS(SYNCLINE_EINVALID, syncline_lock_acquire(bus, "z", "", 0, &lock), "name of a lock");
    CHECK(lock == NULL);
    FAILS(SYNCLINE_EINVALID, syncline_lock_fence(NULL, &fence), "lock");
    FAILS(SYNCLINE_EINVALID, syncline_lock_predecessor_died(NULL), "lock");
    FAILS(SYNCLINE_EINVALID, syncline_lock_check(NULL), "lock");
    FAILS(SYNCLINE_EINVALID, syncline_lock_commit(NULL, NULL), "lock");
    FAILS(SYNCLINE_EINVALID, syncline_lock_watch_open(bus, "z", "\n", &watch), "control");
    FAILS(SYNCLINE_EINVALID, syncline_lock_watch_next(NULL, 0, &state), "watch");
    syncline_lock_release(NULL);
    syncline_lock_watch_close(NULL);
}

static void committing(syncline_bus *bus) {
    syncline_bus *other = connect_bus();
    syncline_writer *writer = open_writer(bus, "z", "w"), *foreign = open_writer(other, "z", "foreign");
    syncline_lane lane = open_lane(writer, "bytes", NULL), theirs = open_lane(foreign, "bytes", NULL);
    syncline_reader *reader = open_reader(bus, "z", "bytes", 1);
    syncline_lock *lock;
    void *place;
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    FAILS(SYNCLINE_EINVALID, syncline_lock_commit(lock, writer), "no batch is open");
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, lane, "a", 1));
    IS(0, syncline_writer_loan(writer, lane, 1, &place));
    FAILS(SYNCLINE_EINVALID, syncline_lock_commit(lock, writer), "a loan is open");
    IS(0, syncline_loan_drop(writer));
    IS(0, syncline_batch_begin(foreign));
    IS(0, syncline_batch_push(foreign, theirs, "x", 1));
    FAILS(SYNCLINE_EINVALID, syncline_lock_commit(lock, foreign), "of another");
    IS(0, syncline_batch_roll_back(foreign));
    IS(0, syncline_batch_push(writer, lane, "b", 1)); /* still open */
    IS(0, syncline_lock_commit(lock, writer));
    IS(0, syncline_writer_edge(writer, NULL));
    next_era_has(reader, 1, "ab");
    IS(1, syncline_lock_acquire(other, "z", "l", 0, &lock)); /* given back */
    syncline_lock_release(lock);
    /* What can not be committed gives it back all the same. */
    syncline_halt *halt;
    IS(0, syncline_writer_on_halt(writer, SYNCLINE_HALT_REFUSE));
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    IS(0, syncline_batch_begin(writer));
    IS(0, syncline_batch_push(writer, lane, "c", 1));
    IS(0, syncline_zone_halt(bus, "z", SECOND, &halt));
    IS(SYNCLINE_EHALTED, syncline_lock_commit(lock, writer));
    IS(SYNCLINE_EINVALID, syncline_batch_commit(writer)); /* it is over */
    syncline_halt_release(halt);
    IS(1, syncline_lock_acquire(other, "z", "l", 0, &lock));
    IS(0, syncline_lock_predecessor_died(lock));
    syncline_lock_release(lock);
    syncline_reader_close(reader);
    syncline_writer_close(foreign);
    syncline_writer_close(writer);
    syncline_bus_close(other);
}

static void told(syncline_lock_watch *watch, int held, uint32_t waiting, uint32_t died, pid_t pid) {
    struct syncline_lock_state state;
    IS(1, syncline_lock_watch_next(watch, 10 * SECOND, &state));
    CHECK((state.fence != 0) == held && state.waiting == waiting && state.died == died && state.holder_pid == pid);
}

static void watching_the_dead(syncline_bus *bus) {
    syncline_lock_watch *watch;
    struct syncline_lock_state state;
    syncline_lock *lock;
    IS(0, syncline_lock_watch_open(bus, "z", "l", &watch));
    told(watch, 0, 0, 0, 0);
    IS(0, syncline_lock_watch_next(watch, 0, &state));
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    told(watch, 1, 0, 0, getpid());
    /* A child has neither the lock nor the watch. */
    pid_t child = fork();
    if (child == 0) {
        uint64_t fence;
        const int is_so = syncline_lock_fence(lock, &fence) == SYNCLINE_EFORKED &&
                          syncline_lock_watch_next(watch, 0, &state) == SYNCLINE_EFORKED &&
                          syncline_lock_acquire(bus, "z", "m", 0, &lock) == SYNCLINE_EFORKED;
        syncline_lock_release(lock);
        syncline_lock_watch_close(watch);
        _exit(is_so ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    IS(0, syncline_lock_watch_next(watch, SECOND / 100, &state)); /* and does not give it back */
    child = fork();
    if (child == 0) {
        syncline_bus *own = connect_bus();
        syncline_lock *never;
        syncline_lock_acquire(own, "z", "l", -1, &never);
        pause();
    }
    told(watch, 1, 1, 0, getpid());
    syncline_lock_release(lock);
    told(watch, 1, 0, 0, child);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    told(watch, 0, 0, 1, 0);
    IS(1, syncline_lock_acquire(bus, "z", "l", 0, &lock));
    IS(1, syncline_lock_predecessor_died(lock));
    told(watch, 1, 0, 1, getpid());
    syncline_lock_release(lock);
    syncline_lock_watch_close(watch);
}

int main(void) {
    syncline_bus *bus = connect_bus();
    one_after_the_other(bus);
    bad_input(bus);
    committing(bus);
    watching_the_dead(bus);
    syncline_bus_close(bus);
    puts("ok");
    return 0;
}
