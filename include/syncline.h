/*
 * syncline.h - the C interface of Syncline: shared-memory messages between the processes of one Linux host, with SYNC edges.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * CAVEATS
 *   - `message->data` points into memory that the writer's process can write. Reading it in place is the decision to trust that
 *     process; syncline_message_copy() is the way that is safe whatever the writer does. See there.
 *   - A writer, reader, watch, listing, halt, wait set or table's reader belongs to one thread at a time. A bus may be used by any number
 *     of threads at once.
 *   - Nothing survives fork(): see "Threads and fork".
 *   - A reader that stops taking messages holds up the writers of its channels: they get SYNCLINE_EFULL. Close what you do not read.
 *   - No function may be called from a signal handler. A signal does not end a wait: use timeouts and look at your own flag.
 *   - A handle that was closed must not be used again; that can not be detected.
 *   - Linux on 64-bit processors. Another user's processes can not attach; processes of the same user that trace each other, and
 *     root, are not defended against.
 *
 * BUILDING
 *   cc -std=c11 client.c $(pkg-config --cflags --libs syncline)
 *   cc -std=c11 client.c -I PREFIX/include -L PREFIX/lib -lsyncline                                     (shared: libsyncline.so.0)
 *   cc -std=c11 client.c -I PREFIX/include PREFIX/lib/libsyncline.a -lgcc_s -lutil -lrt -lpthread -lm -ldl          (static)
 *   `cargo xtask install --prefix PREFIX` makes PREFIX/include and PREFIX/lib. C11 or C++17, and later ones.
 *
 * OVERVIEW
 *   bus       a connection to the broker (`syncline broker`), which is asked when something is opened or closed. Messages and edges
 *             do not pass through it, and go on without it.
 *   zone      channels and writers that share one edge, by name. Made with its first writer or reader, gone with the last; or made
 *             and removed by syncline_zone_create() and syncline_zone_remove().
 *   channel   a named stream of messages of one declared type.
 *   writer    one participant that publishes into a zone. It has one lane (a ring of memory) in each channel it publishes to.
 *   commit    what makes one message, or a whole batch over several lanes, visible at once.
 *   edge      what seals an era: all that all writers of the zone have committed since the edge before, visible at once.
 *             A participant asks for it, or it comes by itself as the zone's options say. It is on record, and may carry a tag.
 *   lockstep  a kind of zone whose edge passes when every writer has given its permit.
 *   lock      held by one process at a time, by name, in the order of asking; a batch can be committed and a lock given back in one step.
 *   halt      a zone made to stand still between two messages, for as long as one holds it.
 *   wait set  waits for the first of several readers and other descriptors; readers have descriptors for poll() and epoll, too.
 *   reader    reads several channels of one zone: live (each message as soon as it is committed) or synced (whole sealed eras, in
 *             the same order for every reader).
 *   table     shared state: items of declared types, which one writer at a time sets, in commits; anybody reads the newest values of
 *             some, or those of an era, at the cost of a copy, and can be told what has changed.
 *
 *     syncline_bus *bus; syncline_writer *writer; syncline_lane lane;
 *     struct syncline_writer_options options = { .size = sizeof options, .zone = "plant", .name = "sensor" };
 *     if (syncline_bus_connect(NULL, &bus) < 0 || syncline_writer_open(bus, &options, &writer) < 0 ||
 *         syncline_lane_open(writer, "text", NULL, NULL, &lane) < 0 || syncline_writer_publish(writer, lane, "hello", 5) < 0 ||
 *         syncline_writer_edge(writer, NULL) < 0) {
 *         fprintf(stderr, "%s\n", syncline_detail());
 *     }
 *     syncline_writer_close(writer);
 *     syncline_bus_close(bus);
 *
 * ERRORS
 *   Functions that return `int` return a negative code of enum syncline_error on failure, else 0, or what they say they return.
 *   Functions that fetch something (a message, an era, an event) return 1 with it, 0 when there is none in the time given, or a
 *   negative code. After a failure syncline_detail() says what was expected, what was found and what to do. Some codes are
 *   outcomes to handle on the spot: SYNCLINE_EFULL, SYNCLINE_ETIMEOUT, SYNCLINE_ECLOSED, and those after SYNCLINE_EINTERNAL. A failure
 *   leaves the handle as it was, unless said otherwise; a pointer that was to be returned is then NULL.
 *   Any function can return, and it is not repeated below: SYNCLINE_EINVALID for a NULL that it does not take, text that is not
 *   UTF-8, or options with a bad size; SYNCLINE_EFORKED; SYNCLINE_EINTERNAL (a bug, or no memory: close the handle).
 *
 * THREADS AND FORK
 *   In a child of fork() every handle made before answers SYNCLINE_EFORKED: the child shares none of its memory. Closing it there
 *   frees the child's copy and leaves the parent's alone; pointers into messages and loans must not be used there. To daemonise, fork
 *   first and connect afterwards, or close and connect anew in the child. exec() needs nothing: descriptors are close-on-exec.
 *   Readers, writers and halts keep what they need of the bus: it may be closed before them. No signal handler is installed, and no
 *   thread is started but the one that a halt has while it lasts, that of a callback (syncline_on_change_start()), and one for up to
 *   127 readers whose descriptors are asked for.
 *
 * LIFETIMES AND GROWTH
 *   Structs that you fill in begin with `size`; set it to their sizeof, zero the rest (0 and NULL mean the default), so that a program
 *   works with later libraries. In C: { .size = sizeof options, ... }. In C++17: `syncline_writer_options options = {};
 *   options.size = sizeof options;`. Structs that come in arrays (struct syncline_field, syncline_channel, syncline_table_items,
 *   syncline_range, syncline_read), and struct syncline_seen, never grow.
 *   What you pass in is not kept after the call. Structs that the library fills in belong to the handle, and are valid until the call
 *   that is named with each; they may get more members at their end.
 *   Text is UTF-8. Names have 1 to 128 bytes and no control characters. Times are in nanoseconds; a negative timeout waits for ever.
 */
#ifndef SYNCLINE_H
#define SYNCLINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define SYNCLINE_ALIGNOF(type) alignof(type)
#else
#define SYNCLINE_ALIGNOF(type) _Alignof(type)
#endif

/* ---- Versions ---------------------------------------------------------------------------------------------------------------- */

/* The interface that this header describes. It goes up with every addition; what breaks programs changes the soname. New with 3: ways to
 * wait (enum syncline_wait), descriptors for poll (syncline_reader_pollable()), wait sets, lossy channels and eviction (enum
 * syncline_delivery), what is lost (syncline_detail_lost()), and counters (syncline_stats_open()). New with 4: tables
 * (syncline_table_open()). */
#define SYNCLINE_ABI_VERSION 4u

/* The interface of the library that runs: it serves programs built for this one and for all before. */
uint32_t syncline_abi_version(void);

/* The library's version, such as "0.1.0". */
const char *syncline_version(void);

/* ---- Errors ------------------------------------------------------------------------------------------------------------------ */

enum syncline_error {
    SYNCLINE_OK = 0,
    SYNCLINE_EFULL = -1,        /* no room in the lane: a reader has not taken what is in it */
    SYNCLINE_ETIMEOUT = -2,     /* the deadline passed */
    SYNCLINE_ECLOSED = -3,      /* a writer has left or died and its lane was read to the end; told once for each lane */
    SYNCLINE_EFORKED = -4,      /* the handle was made before a fork */
    SYNCLINE_ETOOLARGE = -5,    /* a message, batch or lane is larger than its limit */
    SYNCLINE_EINVALID = -6,     /* an argument that the call does not take, or a call out of turn */
    SYNCLINE_ECORRUPT = -7,     /* shared memory does not hold what a sound peer writes; nothing of it was used */
    SYNCLINE_EBADVALUE = -8,    /* the message is not a value of the channel's type */
    SYNCLINE_EMISMATCH = -9,    /* the channel or zone was declared differently */
    SYNCLINE_EUNKNOWN = -10,    /* no zone, channel, writer or reader of that name */
    SYNCLINE_EEXHAUSTED = -11,  /* a quota or table is exhausted */
    SYNCLINE_EVERSION = -12,    /* another version of this interface, of the protocol or of the memory layout */
    SYNCLINE_EPROTOCOL = -13,   /* the peer at the socket does not speak the broker's protocol */
    SYNCLINE_EDENIED = -14,     /* access denied */
    SYNCLINE_ENOBROKER = -15,   /* no broker there, or it went away */
    SYNCLINE_EIO = -16,         /* the operating system refused */
    SYNCLINE_EINTERNAL = -17,   /* a bug in the library, caught at its boundary */
    SYNCLINE_EHALTED = -18,     /* the zone is halted, and this call does not wait for the end of that */
    SYNCLINE_EROLLEDBACK = -19, /* the open era was rolled back: nothing published since the last edge is left; told once */
    SYNCLINE_EEARLY = -20,      /* somebody asks everybody to finish and commit now; told once for each time */
    SYNCLINE_EGONE = -21,       /* that era is not there, or not whole, any more (or not yet) */
    SYNCLINE_ELAGGARDS = -22,   /* the deadline passed, and some readers have not done with the era */
    SYNCLINE_ELAGGED = -23,     /* lossy channels: messages were overwritten before this live reader came to them; it goes on with the next */
    SYNCLINE_EERASLOST = -24,   /* lossy channels: so were parts of eras, none of which this synced reader is handed; it goes on with the next */
    SYNCLINE_EEVICTED = -25,    /* a writer waits for this reader no longer, which took nothing for too long: it has one lane less */
    SYNCLINE_EERATOOLARGE = -26, /* what is published since the last edge fills the lane, and synced readers can not take it before the next */
    SYNCLINE_EOVERTAKEN = -27   /* a table's writer was faster at every try; or edges were, for the writer. Try again, or read an era */
};

/* A short text for a code; never NULL. Static. */
const char *syncline_strerror(int code);

/* What the last failed call of this thread has to say; "" if none failed yet; never NULL. Valid until the next call that fails
 * in this thread. Calls that succeed leave it alone. */
const char *syncline_detail(void);

/* A reader that has not done with an era. */
struct syncline_laggard {
    const char *name; /* "" if the broker could not be asked; then there is one for each process */
    uint64_t taken;   /* the last era that it has done with */
    int32_t pid;
    uint32_t zero;
};

/* If the last failure of this thread was SYNCLINE_ELAGGARDS: the readers that it is about, by `index` from 0. Returns 1; 0 beyond the
 * last, and for another failure. Valid as long as syncline_detail(). */
int syncline_detail_laggard(size_t index, const struct syncline_laggard **laggard);

/* If the last failure of this thread was SYNCLINE_EGONE: the oldest era that is still whole (0: no sealed one is), and the last sealed one.
 * Either may be NULL. Returns 1; 0 for another failure. */
int syncline_detail_gone(uint64_t *oldest, uint64_t *generation);

/* What a reader has lost. */
struct syncline_lost {
    const char *channel;     /* SYNCLINE_ELAGGED and SYNCLINE_EEVICTED: of this channel; else NULL */
    const char *writer_name; /* and of this writer; else NULL */
    uint64_t count;          /* SYNCLINE_ELAGGED: how many messages, exactly; else 0 */
    uint64_t first_era;      /* SYNCLINE_EERASLOST: the first lost era; else 0 */
    uint64_t last_era;       /* and the last */
    uint32_t writer;         /* the writer's row */
    uint32_t zero;
};

/* If the last failure of this thread was SYNCLINE_ELAGGED, SYNCLINE_EERASLOST or SYNCLINE_EEVICTED: what it is about. Returns 1; 0 for
 * another failure. Valid as long as syncline_detail(). */
int syncline_detail_lost(const struct syncline_lost **lost);

/* ---- Types ------------------------------------------------------------------------------------------------------------------- */

enum syncline_scalar {
    SYNCLINE_U8 = 1,
    SYNCLINE_U16,
    SYNCLINE_U32,
    SYNCLINE_U64,
    SYNCLINE_I8,
    SYNCLINE_I16,
    SYNCLINE_I32,
    SYNCLINE_I64,
    SYNCLINE_F32,
    SYNCLINE_F64,
    SYNCLINE_BOOL, /* one byte, 0 or 1 */
    SYNCLINE_CHAR8 /* text: as many bytes as the array has, padded with 0 */
};

/* One field of a message, for tools that print it: a scalar or an array of them. */
struct syncline_field {
    const char *name;
    uint32_t offset; /* bytes from the start of the element */
    uint32_t count;  /* 1, or the array's length */
    uint32_t scalar; /* enum syncline_scalar */
    uint32_t zero;
};

/* What a channel carries. All that open a channel must declare the same (name, element size, alignment, shape, fields), else they get
 * SYNCLINE_EMISMATCH. A type of size 0 and name NULL or "" is plain bytes. Pointers have no place in a message: other processes
 * have other addresses; and padding bytes are published as they are. */
struct syncline_type {
    size_t size;           /* sizeof(struct syncline_type) */
    const char *name;      /* the same in every language and process */
    uint32_t element_size; /* bytes */
    uint32_t align;        /* a power of two up to 4096; payloads in lanes are aligned to it, and to 8 at least */
    uint32_t variable;     /* 0: a message is one element; else it is any number of them */
    uint32_t field_count;  /* at most 256 */
    const struct syncline_field *fields;
};

/* Initialisers. With `struct pose { double x, y; uint32_t quality[2]; }`:
 *
 *     static const struct syncline_field pose_fields[] = {
 *         SYNCLINE_FIELD(struct pose, x, SYNCLINE_F64),
 *         SYNCLINE_FIELD(struct pose, y, SYNCLINE_F64),
 *         SYNCLINE_FIELD(struct pose, quality, SYNCLINE_U32),
 *     };
 *     static const struct syncline_type pose_type = SYNCLINE_TYPE(struct pose, "robot.pose", pose_fields);
 *
 * A field whose size is no multiple of its scalar's does not compile. */
#define SYNCLINE_FIELD(type, member, scalar) \
    {#member, (uint32_t)offsetof(type, member), SYNCLINE_FIELD_COUNT(type, member, scalar), (uint32_t)(scalar), 0}
/* A struct with the fields of an array: one to a message, or any number. */
#define SYNCLINE_TYPE(type, name, fields) SYNCLINE_TYPE_OF(type, name, 0, sizeof(fields) / sizeof((fields)[0]), fields)
#define SYNCLINE_TYPE_SLICE(type, name, fields) SYNCLINE_TYPE_OF(type, name, 1, sizeof(fields) / sizeof((fields)[0]), fields)
/* Without fields. Rust's primitive types have their Rust names: SYNCLINE_TYPE_PLAIN(uint64_t, "u64"). */
#define SYNCLINE_TYPE_PLAIN(type, name) SYNCLINE_TYPE_OF(type, name, 0, 0, NULL)
#define SYNCLINE_TYPE_PLAIN_SLICE(type, name) SYNCLINE_TYPE_OF(type, name, 1, 0, NULL)
/* Bytes of any number, Rust's [u8]. */
#define SYNCLINE_TYPE_BYTES {sizeof(struct syncline_type), "", 0, 1, 1, 0, NULL}

/* Parts of the initialisers above. */
#define SYNCLINE_TYPE_OF(type, name, variable, count, fields) \
    {sizeof(struct syncline_type), name, (uint32_t)sizeof(type), (uint32_t)SYNCLINE_ALIGNOF(type), variable, (uint32_t)(count), fields}
#define SYNCLINE_FIELD_COUNT(type, member, scalar)                                              \
    (uint32_t)(sizeof(((type *)0)->member) / SYNCLINE_SCALAR_SIZE(scalar) +                     \
               0 * sizeof(char[sizeof(((type *)0)->member) % SYNCLINE_SCALAR_SIZE(scalar) == 0 ? 1 : -1]))
#define SYNCLINE_SCALAR_SIZE(scalar)                                                                  \
    ((scalar) == SYNCLINE_U16 || (scalar) == SYNCLINE_I16                                ? (size_t)2 \
     : (scalar) == SYNCLINE_U32 || (scalar) == SYNCLINE_I32 || (scalar) == SYNCLINE_F32 ? (size_t)4 \
     : (scalar) == SYNCLINE_U64 || (scalar) == SYNCLINE_I64 || (scalar) == SYNCLINE_F64 ? (size_t)8 \
                                                                                         : (size_t)1)

/* ---- Bus --------------------------------------------------------------------------------------------------------------------- */

typedef struct syncline_bus syncline_bus;

/* Connects to the broker at `socket`; NULL: at $SYNCLINE_SOCKET, else $XDG_RUNTIME_DIR/syncline/broker.sock, else
 * /tmp/syncline-UID/broker.sock.
 * Errors: SYNCLINE_ENOBROKER (nothing there, or the socket is another user's); SYNCLINE_EVERSION: the library is older than this
 * header, or the broker is of another version; SYNCLINE_EDENIED; SYNCLINE_EPROTOCOL. */
static inline int syncline_bus_connect(const char *socket, syncline_bus **bus);

/* The same for a program that was built for the interface `abi_version`; other languages bind this one. */
int syncline_bus_connect_abi(uint32_t abi_version, const char *socket, syncline_bus **bus);

static inline int syncline_bus_connect(const char *socket, syncline_bus **bus) {
    return syncline_bus_connect_abi(SYNCLINE_ABI_VERSION, socket, bus);
}

/* The socket's path; NULL for a NULL bus. Valid until the bus is closed. */
const char *syncline_bus_socket(const syncline_bus *bus);

/* Waits until `count` readers subscribe to the channel, which need not exist yet; `found` (may be NULL) gets how many do.
 * Errors: SYNCLINE_ETIMEOUT; SYNCLINE_EINVALID: a bad name; SYNCLINE_ENOBROKER. */
int syncline_bus_wait_readers(syncline_bus *bus, const char *zone, const char *channel, uint32_t count, int64_t timeout_ns,
                              uint32_t *found);

/* Closes the connection; what was opened through it lives on. NULL is fine. */
void syncline_bus_close(syncline_bus *bus);

/* ---- Zone -------------------------------------------------------------------------------------------------------------------- */

/* What the edges of a zone wait for. */
enum syncline_pace {
    SYNCLINE_FREE = 1,  /* for nobody: an edge takes what is committed */
    SYNCLINE_LOCKSTEP,  /* for the permit of every writer (syncline_writer_permit()), at most until a deadline */
    SYNCLINE_REVOCABLE  /* the same, and the open era can be rolled back. Such a zone refuses live readers */
};

/* How a zone is made, when it is not there yet. 0: the default, or what the zone has. One that is there refuses anything else than it has
 * (SYNCLINE_EMISMATCH). Edges that come by themselves are run by whoever commits, and the heartbeat by the broker; without a broker
 * by the zone's writers. */
struct syncline_zone_options {
    size_t size;            /* sizeof(struct syncline_zone_options) */
    uint32_t writers;       /* the most writers at a time: 1 to 1024; 64 */
    uint32_t eras;          /* eras that the zone remembers: a power of two, 4 to 4096; 64, or what keep_eras needs */
    uint32_t subscriptions; /* the most subscriptions (reader x lane): 1 to 65536; 1024 */
    uint32_t pace;          /* enum syncline_pace; SYNCLINE_FREE */
    uint64_t click_ns;      /* heartbeat: an edge so often, in whole milliseconds (1 at least); 0: none. Not in lockstep */
    uint64_t every_commits; /* an edge after so many commits of one writer; 0: none. Not in lockstep */
    uint64_t every_bytes;   /* an edge whenever one writer has published so many bytes; 0: none. Not in lockstep */
    uint64_t deadline_ns;   /* lockstep only: how long the first permit waits for the last, in whole milliseconds; 0: 1 s */
    uint64_t keep_bytes;    /* history that each lane holds at least, unless its writer asks for a larger ring: up to 512 MiB; 0 */
    uint32_t keep_eras;     /* sealed eras that stay to be had, at least, after their writers have gone: up to `eras` - 2; 0 */
    uint32_t zero;
};

/* Makes the zone, if it is not there, and lets it stay when nobody is in it, until it is removed or the broker ends. `options` may be NULL.
 * Errors: SYNCLINE_EINVALID: a bad name, or options that do not go together; SYNCLINE_EMISMATCH: it was made with others;
 * SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_zone_create(syncline_bus *bus, const char *zone, const struct syncline_zone_options *options);

/* Lets the zone go as soon as nobody is in it, with all that it keeps.
 * Errors: SYNCLINE_EUNKNOWN: no such zone; SYNCLINE_ENOBROKER. */
int syncline_zone_remove(syncline_bus *bus, const char *zone);

/* ---- Edges ------------------------------------------------------------------------------------------------------------------- */

/* Why an edge passed. */
enum syncline_reason {
    SYNCLINE_REASON_EXACT = 1, /* a participant asked for it, just there */
    SYNCLINE_REASON_COMMITS,   /* a writer had made as many commits as the zone's options say */
    SYNCLINE_REASON_BYTES,     /* a writer had published as many bytes as they say */
    SYNCLINE_REASON_CLICK,     /* the zone's heartbeat */
    SYNCLINE_REASON_PERMITS,   /* lockstep: every writer had given its permit */
    SYNCLINE_REASON_DEADLINE,  /* lockstep: the deadline had passed, or syncline_zone_edge() was called, and some were late */
    SYNCLINE_REASON_REST       /* the broker sealed what was left by writers that are gone, or finished an edge left half-done */
};

/* What is on record of a sealed era: decided once, the same for everybody. A handle keeps the last one that it gave: valid until the next
 * that it gives, or the close. */
struct syncline_edge {
    uint64_t era;               /* the era that the edge sealed */
    uint64_t time_ns;           /* when, on CLOCK_MONOTONIC, in whole microseconds */
    uint64_t tag;               /* the tag that it carried; 0 if none */
    uint32_t has_tag;           /* 1 if it carried one */
    uint32_t reason;            /* enum syncline_reason, or a later one */
    const uint32_t *straddlers; /* rows of the writers that had a batch open, which is in a later era; if the reason is
                                   SYNCLINE_REASON_DEADLINE, of those that were late. NULL if there are none */
    uint32_t straddler_count;
    uint32_t zero;
};

/* One word for a number of enum syncline_reason; "unknown" for others; never NULL. Static. */
const char *syncline_reason_name(uint32_t reason);

/* An exact edge, run by the broker for somebody who has no writer in the zone. `tag` NULL: none. In lockstep: an edge that waits for no
 * more permits. `era` (may be NULL) gets the number of the era that it sealed.
 * Errors: SYNCLINE_EUNKNOWN: no such zone; SYNCLINE_EHALTED; SYNCLINE_EINVALID: a tag in lockstep, where edges carry none;
 * SYNCLINE_ETIMEOUT: others' edges overtook this one again and again; SYNCLINE_ENOBROKER. */
int syncline_zone_edge(syncline_bus *bus, const char *zone, const uint64_t *tag, uint64_t *era);

/* Asks everybody in the zone to finish what they are at and commit now: writers find it with their next commit or step
 * (syncline_writer_early_requested()), and readers that want to know while they wait (`early` of their options).
 * Errors: SYNCLINE_EUNKNOWN: no such zone; SYNCLINE_ENOBROKER. */
int syncline_zone_request_early(syncline_bus *bus, const char *zone);

/* Waits until every reader that has joined and takes eras (synced, or live with markers) has done with `era`: has begun a later one,
 * ended it (syncline_era_end()), or gone. With no such reader it returns at once, whatever the era.
 * Errors: SYNCLINE_ELAGGARDS: some have not in time, see syncline_detail_laggard(); SYNCLINE_EUNKNOWN: no such zone; SYNCLINE_ENOBROKER. */
int syncline_zone_wait_done(syncline_bus *bus, const char *zone, uint64_t era, int64_t timeout_ns);

/* ---- What there is ----------------------------------------------------------------------------------------------------------- */

typedef struct syncline_listing syncline_listing;

enum syncline_kind { SYNCLINE_CHANNEL = 1, SYNCLINE_WRITER, SYNCLINE_READER, SYNCLINE_ZONE };

/* A zone, or something in it. Members that a kind does not have are 0 or NULL. */
struct syncline_item {
    uint32_t kind;                               /* enum syncline_kind */
    uint32_t uid;                                /* writer, reader: its user */
    int32_t pid;                                 /* writer, reader: its process */
    uint32_t writer;                             /* writer: its row, the number that its messages carry */
    const char *zone;                            /* all: the zone's name */
    const char *name;                            /* all: its own name */
    const struct syncline_type *type;            /* channel: NULL while nobody has declared one */
    const char *const *channels;                 /* writer: those that it has lanes in; reader: those that it subscribes to */
    uint32_t channel_count;
    uint32_t lanes;                              /* channel: of the writers in it; writer, reader: its own */
    uint32_t subscribers;                        /* channel: readers of it */
    uint32_t synced;                             /* reader: 1 if it reads whole eras */
    uint64_t bytes;                              /* zone: of all its segments; channel, writer: of its lanes */
    uint64_t generation;                         /* zone: its last sealed era */
    const struct syncline_edge *last_edge;       /* zone: what is on record of that; NULL: there is none yet */
    const struct syncline_zone_options *options; /* zone: how it was made, defaults included */
    uint64_t taken;                              /* reader: the last era that it has done with; counts if it takes eras */
    uint32_t takes_eras;                         /* reader: 1 if it does: synced, or live with markers */
    uint32_t created;                            /* zone: 1 if it stays when nobody is in it */
    uint32_t halted;                             /* zone: 1 if it is */
    uint32_t kept;                               /* channel: lanes of writers that have gone, which new readers still get */
    uint32_t open_batch;                         /* writer: 1 if it has one */
    uint32_t straddles;                          /* writer: over how many edges in a row, up to the last, it had one; lockstep: was late */
    uint32_t permits;                            /* writer: lockstep: 1 if it has given its permit for the open era */
    uint32_t delivery;                           /* channel: enum syncline_delivery; SYNCLINE_AS_IT_IS while it has had no writer */
    uint32_t evict_ms;                           /* channel: after how long its writers evict a reader that takes nothing; 0: never */
    uint32_t evicted;                            /* reader: from how many lanes it was evicted */
};

/* Takes a list of all zones, and in each its channels, writers and readers.
 * Errors: SYNCLINE_ENOBROKER. */
int syncline_bus_list(syncline_bus *bus, syncline_listing **listing);

/* The next item: each zone, followed by what is in it. Returns 1; 0 after the last. Valid until the next call or the close. */
int syncline_listing_next(syncline_listing *listing, const struct syncline_item **item);

/* Frees the list. NULL is fine. */
void syncline_listing_close(syncline_listing *listing);

typedef struct syncline_watch syncline_watch;

enum syncline_change { SYNCLINE_CAME = 1, SYNCLINE_LEFT, SYNCLINE_DIED };

/* Somebody came or went. */
struct syncline_presence {
    uint32_t change;     /* enum syncline_change */
    uint32_t kind;       /* enum syncline_kind, but for SYNCLINE_ZONE */
    const char *zone;
    const char *channel; /* "" for a writer that has come to the zone; it comes to each of its channels as well */
    const char *name;    /* "" for a channel */
    int32_t pid;
    uint32_t uid;
};

/* Watches one zone, or with NULL every zone, over a connection of its own. First comes what is there now, as SYNCLINE_CAME.
 * Errors: as syncline_bus_connect(). */
int syncline_bus_watch(syncline_bus *bus, const char *zone, syncline_watch **watch);

/* The next event. Returns 1; 0 if there is none in time. Valid until the next call or the close.
 * Errors: SYNCLINE_ENOBROKER. */
int syncline_watch_next(syncline_watch *watch, int64_t timeout_ns, const struct syncline_presence **event);

/* Ends the watch. NULL is fine. */
void syncline_watch_close(syncline_watch *watch);

/* ---- Writer ------------------------------------------------------------------------------------------------------------------ */

typedef struct syncline_writer syncline_writer;

/* What publishes, commits, seals or permits can find two things, and has then published nothing. Neither is said again below.
 *   SYNCLINE_EHALTED      the zone is halted, and the writer does not wait: see syncline_writer_on_halt(). By default it waits.
 *   SYNCLINE_EROLLEDBACK  zones that are SYNCLINE_REVOCABLE only: another writer has rolled the open era back; told once for each time.
 *                         What this one has published since the last edge is gone as well: do this round's work again.
 * An open batch, or the loan that was to be published, is over with either. */

/* One writer's lane in one channel. Only the writer that opened it takes it. */
typedef uint64_t syncline_lane;

struct syncline_writer_options {
    size_t size;                 /* sizeof(struct syncline_writer_options) */
    const char *zone;            /* the zone's name */
    const char *name;            /* this writer's, for people */
    int64_t room_timeout_ns;     /* see syncline_writer_set_room_timeout() */
    uint32_t zone_writers;       /* `writers`, `eras` and `subscriptions` of struct syncline_zone_options; 0 beside zone_options */
    uint32_t zone_eras;
    uint32_t zone_subscriptions;
    uint32_t zero;
    const struct syncline_zone_options *zone_options; /* NULL: the defaults, or what the zone has */
};

enum syncline_delivery {
    SYNCLINE_AS_IT_IS = 0, /* what the channel's first writer has said, or else reliable */
    SYNCLINE_RELIABLE = 1, /* a reader that is too slow holds the channel's writers up; see evict_ms */
    SYNCLINE_LOSSY = 2     /* writers wait for nobody: a reader that is too slow loses the oldest messages, and is told exactly what */
};

struct syncline_lane_options {
    size_t size;       /* sizeof(struct syncline_lane_options) */
    uint64_t capacity; /* bytes of the ring, rounded up to a power of two: 4 KiB to 1 GiB; 1 MiB */
    uint64_t max_len;  /* longest message in bytes; what the capacity allows, about 15/16 of it, a thirteenth where readers can be passed.
                          Alone: the capacity is made to fit */
    uint32_t delivery; /* enum syncline_delivery: the same for all writers of a channel */
    uint32_t evict_ms; /* SYNCLINE_RELIABLE only: who holds a writer up and takes nothing for so long is evicted; 0: nobody ever */
};

/* Opens a writer.
 * Errors: SYNCLINE_EINVALID: a bad name, or zone options that do not go together; SYNCLINE_EMISMATCH: the zone was made with others;
 * SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_writer_open(syncline_bus *bus, const struct syncline_writer_options *options, syncline_writer **writer);

/* Opens the writer's lane in a channel, which is made if it is not there. `type` NULL: bytes. `options` may be NULL. When this returns,
 * every reader of the channel is going to see what is published. Not during a batch or a loan.
 * Errors: SYNCLINE_EMISMATCH: the channel has another type or delivery; SYNCLINE_EINVALID: a bad name or type, or this writer has a lane
 * there already; SYNCLINE_ETOOLARGE; SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_lane_open(syncline_writer *writer, const char *channel, const struct syncline_type *type,
                       const struct syncline_lane_options *options, syncline_lane *lane);

/* Publishes one message, a commit of its own, by copying it into the lane.
 * Errors: SYNCLINE_EFULL: no room, even within the room timeout, see syncline_writer_held_up_by(); SYNCLINE_EERATOOLARGE: make an edge
 * first; SYNCLINE_ETOOLARGE: over the lane's limit; SYNCLINE_EBADVALUE: `len` is
 * not the type's size (or a multiple, if variable); SYNCLINE_EINVALID: another writer's lane, or a batch or loan is open. Nothing was
 * published then. */
int syncline_writer_publish(syncline_writer *writer, syncline_lane lane, const void *data, size_t len);

/* A reader that holds up a lane. */
struct syncline_holder {
    const char *name; /* its first 24 bytes */
    uint64_t behind;  /* how far it is behind the lane's end, in bytes */
    int32_t pid;
    uint32_t uid;
    uint32_t synced; /* it takes whole eras */
    uint32_t zero;
};

/* The reader that a lane's writer would have to wait for: the one that is furthest behind. Returns 1; 0 if there is none. Valid until the
 * next call with this writer. */
int syncline_writer_held_up_by(syncline_writer *writer, syncline_lane lane, const struct syncline_holder **holder);

/* A place in the lane to write a message of up to `len` bytes in, without a copy. `data` is aligned for the type; the bytes hold
 * whatever was there before. A writer has one loan at a time. It ends with syncline_loan_publish(), syncline_loan_drop() or the
 * close of the writer, and the place must not be written afterwards.
 * Errors: as syncline_writer_publish(). */
int syncline_writer_loan(syncline_writer *writer, syncline_lane lane, size_t len, void **data);

/* Publishes the first `len` bytes of the loan: a commit of its own, or during a batch a part of it.
 * Errors: SYNCLINE_EINVALID: no loan is open, or it has fewer bytes; SYNCLINE_EBADVALUE. The loan stays open then. */
int syncline_loan_publish(syncline_writer *writer, size_t len);

/* Ends the loan without a trace.
 * Errors: SYNCLINE_EINVALID: no loan is open. */
int syncline_loan_drop(syncline_writer *writer);

/* Begins a batch: messages in any of the writer's lanes that one commit makes visible, all or none, also to live readers, and
 * puts into one era.
 * Errors: SYNCLINE_EINVALID: a batch or loan is open. */
int syncline_batch_begin(syncline_writer *writer);

/* Adds a message by copying it. (Or write it in place: syncline_writer_loan(), syncline_loan_publish().)
 * Errors: as syncline_writer_publish(), SYNCLINE_ETOOLARGE also if a lane can never take the batch at once; SYNCLINE_EINVALID also if no
 * batch is open. The batch stays as it was. */
int syncline_batch_push(syncline_writer *writer, syncline_lane lane, const void *data, size_t len);

/* Makes all of the batch visible at once. It can not fail for want of room.
 * Errors: SYNCLINE_EINVALID: no batch is open, or a loan is. */
int syncline_batch_commit(syncline_writer *writer);

/* Forgets the batch, and its loan if one is open: nobody ever saw anything of it. So does closing the writer.
 * Errors: SYNCLINE_EINVALID: no batch is open. */
int syncline_batch_roll_back(syncline_writer *writer);

/* An edge: seals what all writers of the zone have committed. The era returned in `era` (may be NULL), or one before it, holds all
 * that anybody had committed before the call. Never waits for anybody (but for the end of a halt). Not during a batch or a loan.
 * Errors: SYNCLINE_ETIMEOUT: others' edges overtook this one again and again; SYNCLINE_EINVALID: a batch or loan is open, or the zone
 * is in lockstep, where edges pass by permits. */
int syncline_writer_edge(syncline_writer *writer, uint64_t *era);

/* The same with a tag of the application's: it is on record with the era returned, for everybody. Any number is a tag.
 * Errors: as syncline_writer_edge(). */
int syncline_writer_edge_tagged(syncline_writer *writer, uint64_t tag, uint64_t *era);

/* What is on record of a sealed era. Returns 1; 0 if the zone does not remember it, or it is not sealed yet. */
int syncline_writer_edge_info(syncline_writer *writer, uint64_t era, const struct syncline_edge **edge);

/* Lockstep: this writer's word that the edge of the open era may pass, with all that it has committed up to now; what it commits afterwards
 * is in the next era. The edge passes with the last writer's permit, or at the zone's deadline after the first. `era` (may be NULL) gets
 * the era's number: wait for it with a synced reader, or look at syncline_writer_generation(). If the deadline passed first, this
 * writer was late: its next permit brings what that era lacks. Not during a batch or a loan.
 * Errors: SYNCLINE_EINVALID: the zone is not in lockstep, this writer has given its permit for the open era already, or a batch or loan
 * is open. */
int syncline_writer_permit(syncline_writer *writer, uint64_t *era);

/* Zones that are SYNCLINE_REVOCABLE: drops all that everybody has published since the last edge. Readers never knew. The other writers
 * are told SYNCLINE_EROLLEDBACK by their next call, and so are readers that wait, unless all writers of their process know already. Not
 * during a batch or a loan.
 * Errors: SYNCLINE_EINVALID: the zone is not revocable, this writer has given its permit for the open era, the edge has begun, or a batch
 * or loan is open; SYNCLINE_EHALTED. */
int syncline_writer_roll_back_era(syncline_writer *writer);

/* Waits until every reader has done with `era`; as syncline_zone_wait_done(), but needs no broker.
 * Errors: SYNCLINE_ELAGGARDS. */
int syncline_writer_wait_done(syncline_writer *writer, uint64_t era, int64_t timeout_ns);

/* Asks everybody in the zone to finish what they are at and commit now; as syncline_zone_request_early(), but needs no broker. This writer
 * finds it, too. */
int syncline_writer_request_early(syncline_writer *writer);

/* Whether somebody has asked for that, as of this writer's last commit or syncline_writer_step(). Returns 1, once for each time; else 0. */
int syncline_writer_early_requested(syncline_writer *writer);

/* For loops that neither publish nor wait: looks for a halt, whose end it waits for (or says SYNCLINE_EHALTED), and whether somebody has
 * asked to finish and commit now: returns 1 then, else 0. Costs next to nothing; may be called during a batch or a loan. */
int syncline_writer_step(syncline_writer *writer);

enum syncline_halt_mode {
    SYNCLINE_HALT_WAIT,  /* wait until the halt is over; the default */
    SYNCLINE_HALT_REFUSE /* say SYNCLINE_EHALTED at once */
};

/* What this writer's calls do while its zone is halted: one of enum syncline_halt_mode.
 * Errors: SYNCLINE_EINVALID: another number. */
int syncline_writer_on_halt(syncline_writer *writer, uint32_t mode);

/* How long publish, loan and push wait for room before they say SYNCLINE_EFULL: 0, the default: not at all. */
int syncline_writer_set_room_timeout(syncline_writer *writer, int64_t timeout_ns);

/* How they wait for it; as syncline_reader_set_wait(). */
int syncline_writer_set_room_wait(syncline_writer *writer, uint32_t wait, int64_t spin_ns);

/* The number of the zone's last sealed era; 0 before the first. */
int syncline_writer_generation(syncline_writer *writer, uint64_t *generation);

/* The writer's row in its zone: the number that its messages carry. */
int syncline_writer_row(syncline_writer *writer, uint32_t *row);

/* Closes the writer, its lanes, its open batch and loan. Readers still get all that was committed, then SYNCLINE_ECLOSED. NULL is fine. */
void syncline_writer_close(syncline_writer *writer);

/* ---- Reader ------------------------------------------------------------------------------------------------------------------ */

typedef struct syncline_reader syncline_reader;

/* A channel to subscribe to. */
struct syncline_channel {
    const char *name;
    const struct syncline_type *type; /* NULL: any; bytes only: SYNCLINE_TYPE_BYTES */
};

struct syncline_reader_options {
    size_t size;      /* sizeof(struct syncline_reader_options) */
    const char *zone; /* the zone's name */
    const char *name; /* this reader's, for people */
    const struct syncline_channel *channels;
    uint32_t channel_count;
    uint32_t synced;     /* 0: live, each message as soon as it is committed; 1: whole sealed eras */
    uint32_t oldest;     /* where to start in lanes that are there: 0 with what comes now, 1 with all that they still hold */
    uint32_t must_exist; /* 1: refuse channels that do not exist yet; 0: wait for their writers */
    uint32_t zone_writers, zone_eras, zone_subscriptions; /* as in struct syncline_writer_options */
    uint32_t zero;
    const struct syncline_zone_options *zone_options; /* NULL: the defaults, or what the zone has */
    uint64_t start_era;  /* if not 0, start with this era and not as `oldest` says: one that is whole, or the one after the last sealed */
    uint32_t markers;    /* 1, live only: the edges are handed out among the messages; then read with syncline_reader_wait_live() */
    uint32_t early;      /* 1: waiting ends with SYNCLINE_EEARLY when somebody asks everybody to finish and commit now */
};

/* A message where it lies, valid until the next call that takes a message or begins an era, syncline_reader_release(), or the close.
 * Until then the writer keeps it. */
struct syncline_message {
    const void *data;                 /* in place: see syncline_message_copy(); aligned for its type, and to 8 at least */
    size_t len;                       /* bytes; never more than the lane's limit, but else whatever the writer said */
    const struct syncline_type *type; /* as the channel was declared */
    const char *channel;
    const char *writer_name;
    uint32_t writer;                  /* the writer's row in its zone */
    int32_t pid;                      /* the writer's process */
    uint64_t sequence;                /* number among this writer's messages in this channel: from 0, without gaps */
    uint64_t era;                     /* the era it came in; 0 for a live reader: see syncline_message_era() */
};

/* An era as it is handed out. Valid until the next call that begins one, or the close. */
struct syncline_era {
    uint64_t number; /* from 1 */
    uint32_t merged; /* 1: earlier eras, which the zone does not tell apart any more, come with this one; nothing is lost */
    uint32_t zero;
};

/* A lane that has come to its end. */
struct syncline_closed {
    const char *channel;
    const char *writer_name;
    uint32_t writer; /* its row */
    uint32_t died;   /* 1: its process died; 0: it was closed */
};

/* Joins the channels of a zone. When this returns, nothing that is published afterwards can be missed.
 * Errors: SYNCLINE_EMISMATCH: a channel has another type, or the zone another shape; SYNCLINE_EUNKNOWN: a channel does not exist, and
 * must; SYNCLINE_EINVALID: a bad name or type, no channels, synced and with markers, or live in a zone that is SYNCLINE_REVOCABLE;
 * SYNCLINE_EGONE: the era to start with is not to be had, see syncline_detail_gone(); SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_reader_open(syncline_bus *bus, const struct syncline_reader_options *options, syncline_reader **reader);

/* The next message: if there is one now; spinning until there is (for a core of one's own: nothing is quicker); sleeping until there is.
 * A synced reader goes on into the next sealed era by itself. Returns 1; 0 and a NULL message if there is none in time.
 * Errors: SYNCLINE_ECLOSED, once for each lane whose writer has gone, after its last message: see syncline_reader_closed(); the reader goes
 * on with others, and with those to come. SYNCLINE_ECORRUPT for a lane that holds what no sound writer writes: it is given up.
 * SYNCLINE_EROLLEDBACK, of the last two: the open era of a zone that is SYNCLINE_REVOCABLE was rolled back; the reader goes on.
 * SYNCLINE_EEARLY, of the last two, if the reader wants to know: told once for each time.
 * SYNCLINE_EINVALID: the reader has markers. While the zone is halted there is nothing: what is there waits for its end. */
int syncline_reader_try(syncline_reader *reader, const struct syncline_message **message);
int syncline_reader_spin(syncline_reader *reader, int64_t timeout_ns, const struct syncline_message **message);
int syncline_reader_wait(syncline_reader *reader, int64_t timeout_ns, const struct syncline_message **message);

/* For a live reader with markers: the next message or edge, if there is one now; sleeping until there is one. Returns 1 with one of the
 * two, the other is NULL; 0 if there is neither in time. An edge comes after the last message of its era and before the first of the
 * next. (In lockstep a message is in no era before that is sealed: there messages come just before their edge.) A reader that falls
 * behind by more eras than the zone remembers is handed one edge for several: look at its number.
 * Errors: as syncline_reader_wait(); SYNCLINE_EINVALID: a reader without markers. */
int syncline_reader_try_live(syncline_reader *reader, const struct syncline_message **message, const struct syncline_edge **edge);
int syncline_reader_wait_live(syncline_reader *reader, int64_t timeout_ns, const struct syncline_message **message,
                              const struct syncline_edge **edge);

/* The next sealed era, for a synced reader; what is left of the one before is skipped. Returns 1; 0 if there is none in time.
 * Errors: as syncline_reader_try(); SYNCLINE_EINVALID: the reader is live. */
int syncline_reader_try_era(syncline_reader *reader, const struct syncline_era **era);
int syncline_reader_spin_era(syncline_reader *reader, int64_t timeout_ns, const struct syncline_era **era);
int syncline_reader_wait_era(syncline_reader *reader, int64_t timeout_ns, const struct syncline_era **era);

/* The next message of the era begun, in the order (channel, writer, position), the same for every reader. Returns 1; 0 after the last.
 * Errors: SYNCLINE_ECORRUPT, as above. */
int syncline_era_next(syncline_reader *reader, const struct syncline_message **message);

/* The era before the one that is being read. The reader goes on from there: its next era is that one again. Returns 1; 0 if the zone was
 * halted meanwhile (the next era begun is the one before).
 * Errors: SYNCLINE_EGONE: that is not whole any more, see syncline_detail_gone(); the reader goes on behind the era that was being read,
 * which has ended. SYNCLINE_EINVALID: none is being read; else as syncline_reader_rewind(). */
int syncline_era_previous(syncline_reader *reader, const struct syncline_era **era);

/* Goes back (or on) to an era: the next one begun is this. Any that is still whole can be had, and the one after the last sealed. How far
 * back that is: `keep_bytes` and `keep_eras` of the zone's options, and `eras`. The era that is being read ends.
 * Errors: SYNCLINE_EGONE: it is not to be had, see syncline_detail_gone(); the reader is where it was. SYNCLINE_ETIMEOUT: a writer moved on
 * over it again and again; SYNCLINE_EINVALID: the reader is live. */
int syncline_reader_rewind(syncline_reader *reader, uint64_t era);

/* Ends the era that is being read, and with it the present message: what is left of it is skipped, and syncline_zone_wait_done() waits for
 * this reader no longer. So does beginning the next era. Without one, does nothing. While the zone is halted it waits.
 * Errors: as syncline_era_next(); SYNCLINE_EINVALID: the reader is live. */
int syncline_era_end(syncline_reader *reader);

/* What is on record of the era that is being read. Returns 1; 0 if the zone does not remember it any more.
 * Errors: SYNCLINE_EINVALID: none is being read, or the reader is live. */
int syncline_era_edge(syncline_reader *reader, const struct syncline_edge **edge);

/* What is on record of any sealed era. Returns 1; 0 if the zone does not remember it, or it is not sealed yet. */
int syncline_reader_edge_info(syncline_reader *reader, uint64_t era, const struct syncline_edge **edge);

/* Copies the reader's present message, whole, into `buffer` of `size` bytes.
 * In place or a copy? The writer's process keeps its mapping of the lane writable. A sound writer does not touch a message before it is
 * released, and then reading `data` in place is the quickest way. A hostile or broken one may change the bytes *while* you look: a length
 * or index that you checked may differ when you use it, and for the compiler it is a data race. This call reads every word once, in a way
 * that is sound whatever the writer does; check the copy, then use the copy.
 * Errors: SYNCLINE_EINVALID: there is no present message; SYNCLINE_ETOOLARGE: `size` is less than its length. */
int syncline_message_copy(syncline_reader *reader, void *buffer, size_t size);

/* The era that the present message is in. Returns 1 with it; 0 if a live reader's message is in none yet, or the zone has forgotten.
 * Errors: SYNCLINE_EINVALID: there is no present message. */
int syncline_message_era(syncline_reader *reader, uint64_t *era);

/* Gives the present message back to its writer now, and not only with the next call. Without one, does nothing. */
int syncline_reader_release(syncline_reader *reader);

/* The lane that the last SYNCLINE_ECLOSED was about. Returns 1; 0 if there was none. Valid until the next SYNCLINE_ECLOSED or the close. */
int syncline_reader_closed(syncline_reader *reader, const struct syncline_closed **closed);

/* Asks everybody in the zone to finish and commit now; as syncline_zone_request_early().
 * Errors: SYNCLINE_ENOBROKER, unless this process has a writer in the zone. */
int syncline_reader_request_early(syncline_reader *reader);

/* How many lanes (writer x channel) the reader has, those that ended but are not read to the end included. */
int syncline_reader_lanes(syncline_reader *reader, size_t *lanes);

/* The number of the zone's last sealed era; 0 before the first. */
int syncline_reader_generation(syncline_reader *reader, uint64_t *generation);

/* Closes the reader. NULL is fine. */
void syncline_reader_close(syncline_reader *reader);

/* ---- Waiting ----------------------------------------------------------------------------------------------------------------- */

/* How to wait for what is not there yet. */
enum syncline_wait {
    SYNCLINE_WAIT_BRIEF,           /* look a moment longer, some microseconds, then sleep; the default */
    SYNCLINE_WAIT_SPIN,            /* look again and again, and never sleep: nothing is quicker, and it takes a core */
    SYNCLINE_WAIT_SPIN_THEN_BLOCK, /* look again and again for `spin_ns`, then sleep */
    SYNCLINE_WAIT_BLOCK            /* look once, then sleep */
};

/* How syncline_reader_wait(), syncline_reader_wait_era() and syncline_reader_wait_live() wait from now on: one of enum syncline_wait;
 * `spin_ns` counts for SYNCLINE_WAIT_SPIN_THEN_BLOCK only.
 * Errors: SYNCLINE_EINVALID: another number. */
int syncline_reader_set_wait(syncline_reader *reader, uint32_t wait, int64_t spin_ns);

/* How a reader's waits went, since it was opened. Valid until the next such call, or the close. */
struct syncline_sleeps {
    uint64_t spared;    /* announced, and then found what it waited for: no sleep was needed */
    uint64_t overtaken; /* rung between the announcement and the sleep, which did not begin then */
    uint64_t rung;      /* slept, and was woken by a ring */
    uint64_t unrung;    /* slept until the deadline or the bound of one sleep (100 ms), or a signal handler ran */
    uint64_t missed;    /* of those, found something that nobody had rung for: the ringer had died, and there was no broker */
};
int syncline_reader_sleeps(syncline_reader *reader, const struct syncline_sleeps **sleeps);

/* A descriptor that is readable while there may be something to take: for poll(), epoll and what is built on them. It belongs to the reader;
 * do not read, write or close it. It is readable at first. Then take what there is with syncline_reader_try(), syncline_reader_try_era()
 * or syncline_reader_try_live(): it stays readable until one of them returns 0, or one that waits does so. That clears it, and what comes
 * makes it readable again. It may be readable for nothing. What else the waiting calls tell (SYNCLINE_ECLOSED, SYNCLINE_EEARLY,
 * SYNCLINE_EROLLEDBACK) makes it readable, too, and a try tells it.
 * From the first call on, a try that finds nothing costs some system calls (one that finds something costs none). No broker is needed.
 * Errors: SYNCLINE_EIO: no thread can be started, or no descriptor made. */
int syncline_reader_pollable(syncline_reader *reader, int *descriptor);

/* Waits for the first of any number of readers (of several zones, of several brokers) and other descriptors. Each has a key of yours. */
typedef struct syncline_wait_set syncline_wait_set;

/* An empty one.
 * Errors: SYNCLINE_EIO: no descriptor can be made. */
int syncline_wait_set_open(syncline_wait_set **set);

/* How it waits from now on; as syncline_reader_set_wait(). Spinning here asks the kernel again and again. */
int syncline_wait_set_set_wait(syncline_wait_set *set, uint32_t wait, int64_t spin_ns);

/* Waits for a reader, too, until it is closed or removed. It may be in several sets, and in one of them once.
 * Errors: as syncline_reader_pollable(); SYNCLINE_EIO: it is in this set already; or, of the second, is not. */
int syncline_wait_set_add_reader(syncline_wait_set *set, uint64_t key, syncline_reader *reader);
int syncline_wait_set_remove_reader(syncline_wait_set *set, syncline_reader *reader);

/* Waits for a descriptor of yours to be readable or to hang up, too, until it is closed (with its duplicates) or removed.
 * Errors: SYNCLINE_EIO: it can not be waited for, as a regular file, or is in this set already; or, of the second, is not;
 * SYNCLINE_EINVALID: a negative number. */
int syncline_wait_set_add_fd(syncline_wait_set *set, uint64_t key, int descriptor);
int syncline_wait_set_remove_fd(syncline_wait_set *set, int descriptor);

/* Waits until one or more are ready: returns how many, 0 if none is in time, and puts their keys into `keys`, which has room for `capacity`
 * (1 or more; up to 64 come at once). Those left out come with the next call. A reader is ready until a try has returned 0, and may be
 * ready for nothing. */
int syncline_wait_set_wait(syncline_wait_set *set, int64_t timeout_ns, uint64_t *keys, uint32_t capacity);

/* A descriptor that is readable while one of them is ready: for a set in another epoll. It belongs to the set. */
int syncline_wait_set_pollable(syncline_wait_set *set, int *descriptor);

/* Closes the set, and nothing that is in it. NULL is fine. */
void syncline_wait_set_close(syncline_wait_set *set);

/* ---- Halt -------------------------------------------------------------------------------------------------------------------- */

/* A zone that stands still: every writer is at rest between two messages, no edge passes, and readers are handed nothing. Code outside
 * the library runs on: a participant notices with its next call. It ends with syncline_halt_release(), or with the process; and within
 * a second should this process and the broker both die, or this process be stopped while there is no broker. */
typedef struct syncline_halt syncline_halt;

/* A writer that was in the middle of a commit, and has not come to its end in time: stopped, or kept from running. */
struct syncline_late {
    const char *name; /* "" if the broker could not be asked */
    uint32_t writer;  /* its row */
    int32_t pid;
};

/* Halts a zone: asks every writer to rest at its next message boundary, and waits for that, at most until the deadline (10 ms is usual).
 * Whoever is late then is named by syncline_halt_late(); the zone is halted all the same. The caller's own writers are halted as well: in
 * the thread that is to release the halt, set them to SYNCLINE_HALT_REFUSE, or they wait for ever.
 * Errors: SYNCLINE_EHALTED: somebody else has halted it, and has not let go by the deadline; SYNCLINE_EUNKNOWN: no such zone;
 * SYNCLINE_ENOBROKER (by a writer it needs no broker); SYNCLINE_EIO: no thread can be started. */
int syncline_zone_halt(syncline_bus *bus, const char *zone, int64_t deadline_ns, syncline_halt **halt);
int syncline_writer_halt(syncline_writer *writer, int64_t deadline_ns, syncline_halt **halt);

/* The writers that were not at rest by the deadline, by `index` from 0. Returns 1; 0 beyond the last. Valid until the release. */
int syncline_halt_late(syncline_halt *halt, size_t index, const struct syncline_late **late);

/* Whether the zone is still halted by this: 1, or 0 if that has ended by itself. */
int syncline_halt_holds(syncline_halt *halt);

/* How many commits the row has seen, of earlier owners, too: it stands still while the zone is halted, if its writer is not late.
 * Errors: SYNCLINE_EINVALID: the zone has no such row. */
int syncline_halt_version(syncline_halt *halt, uint32_t writer, uint64_t *version);

/* Lets the zone go on, and frees the handle. NULL is fine. */
void syncline_halt_release(syncline_halt *halt);

/* ---- Counters ---------------------------------------------------------------------------------------------------------------- */

/* What the writers, lanes and readers of a zone have done so far: read from shared memory, without the broker and without their notice. A
 * handle belongs to one thread at a time, and keeps what it needs of the bus. */
typedef struct syncline_stats syncline_stats;

struct syncline_zone_stats {
    const char *zone;
    uint64_t time_ns;                 /* when this was read, by CLOCK_MONOTONIC */
    uint64_t eras;                    /* sealed so far: the number of the last one */
    uint32_t writers, lanes, readers; /* how many of each this reading has */
    uint32_t zero;
};

/* A writer, since it was opened. */
struct syncline_writer_stats {
    const char *name;   /* "" while it has no lane */
    uint64_t commits;   /* single messages and batches */
    uint64_t edges;     /* eras that it has sealed; others were sealed by other writers, or by the broker */
    uint64_t full;      /* how often it found no room: SYNCLINE_EFULL */
    uint64_t wakes;     /* how often it woke somebody */
    uint64_t evictions; /* how many times it evicted a reader from a lane */
    uint32_t writer;    /* its row */
    int32_t pid;
};

/* A lane (writer x channel), since it was opened. Of a writer that has gone, as long as the zone keeps it. */
struct syncline_lane_stats {
    const char *channel;
    const char *writer_name;
    uint64_t lane;              /* the broker's number for it */
    uint64_t messages;          /* published; less after a roll-back */
    uint64_t bytes;             /* the same by position in the ring: with 16 bytes a message, its padding to 8, and what was gone round */
    uint64_t retained_messages; /* still in the ring, whoever has read them */
    uint64_t retained_bytes;    /* of these, as of `bytes` */
    uint64_t capacity;          /* of the ring, in bytes */
    uint32_t writer;            /* the writer's row */
    uint32_t readers;           /* how many have it */
    uint32_t pins;              /* how many of them hold a page in place that the writer goes round */
    uint32_t most_pins;         /* how many can at most */
    uint32_t lossy;             /* 1: the writer passes readers that are behind */
    uint32_t evict_ms;          /* not 0: it evicts those that take nothing for so long, in milliseconds */
    uint32_t ended;             /* 1: the writer has gone */
    uint32_t corrupt;           /* 1: it holds what no sound writer makes; the counts are up to there */
};

/* A reader in one of its lanes, since it has that. */
struct syncline_reader_stats {
    const char *name;    /* its first 24 bytes */
    const char *channel; /* the lane's */
    uint64_t lane;       /* as in struct syncline_lane_stats */
    uint64_t messages;   /* taken and left behind */
    uint64_t bytes;      /* of these, in the ring */
    uint64_t lost;       /* messages that were overwritten before it came to them */
    uint64_t lags;       /* how often that happened */
    uint64_t sleeps;     /* how often it went to sleep, for whatever lane */
    uint64_t behind;     /* how far it is behind the lane's end, in bytes of the ring */
    uint32_t entry;      /* its entry in the zone: what tells it from others of its name */
    uint32_t writer;     /* the row of the lane's writer */
    int32_t pid;
    uint32_t uid;
    uint32_t synced;     /* 1: it takes whole eras */
    uint32_t evicted;    /* 1: the lane's writer waits for it no longer */
    uint32_t pinned;     /* 1: it holds a page in place that the lane's writer goes round */
    uint32_t zero;
};

/* Maps the counters of a zone, for reading only.
 * Errors: SYNCLINE_EUNKNOWN: there is no such zone; SYNCLINE_ENOBROKER. */
int syncline_stats_open(syncline_bus *bus, const char *zone, syncline_stats **stats);

/* Reads all counters. The broker is asked only if lanes or readers have come or gone; without one, what was known stays. What this and the
 * next three return is valid until the next reading, or the close; one that fails leaves the reading before it.
 * Errors: SYNCLINE_EUNKNOWN: the zone has gone. */
int syncline_stats_read(syncline_stats *stats, const struct syncline_zone_stats **zone);

/* What was read, by `index` from 0: writers by row, lanes by channel and row, readers once for each of their lanes. Return 1; 0 beyond the
 * last, and before the first reading. */
int syncline_stats_writer(syncline_stats *stats, size_t index, const struct syncline_writer_stats **writer);
int syncline_stats_lane(syncline_stats *stats, size_t index, const struct syncline_lane_stats **lane);
int syncline_stats_reader(syncline_stats *stats, size_t index, const struct syncline_reader_stats **reader);

/* Frees the handle. NULL is fine. */
void syncline_stats_close(syncline_stats *stats);

/* ---- Tables: writing --------------------------------------------------------------------------------------------------------- */

/* A table of one writer. Only the writer that opened it takes it, until syncline_table_close(). Its items are known by their indices, from 0 in
 * the order of their declaration; the indices are the same for everybody. */
typedef uint64_t syncline_table;

/* Items that are declared together. */
struct syncline_table_items {
    const char *name;                 /* which no others of the table have; NULL or "": they have none */
    const struct syncline_type *type; /* NULL: bytes */
    uint32_t count;                   /* how many they are; 0 is 1. A table has 1048576 items at most */
    uint32_t max_len;                 /* of the longest value in bytes, if the type is variable: up to 1 MiB; else 0 */
};

struct syncline_table_options {
    size_t size; /* sizeof(struct syncline_table_options) */
    const struct syncline_table_items *items;
    uint32_t item_count; /* 0: the table has been declared, and is taken as it is */
    uint32_t zero;
    int64_t wait_ns;     /* how long to wait for the table while others own it: in turn; 0: not at all */
};

/* Becomes the owner of a table of the writer's zone, which is made if it is not there, and goes on from its last committed values; those that
 * were never set are all zero bytes (of variable types: empty). In eras it is this owner's from the next edge on. `options` NULL: as it is
 * declared. What a commit changes is also published in the channel NAME.changes, for watches. Not during a batch or a loan.
 * Errors: SYNCLINE_ETIMEOUT: others own it; SYNCLINE_EMISMATCH: it is declared otherwise; SYNCLINE_EUNKNOWN: it is not there, and nothing
 * is declared; SYNCLINE_EINVALID: a declaration that can not be, or a zone that is SYNCLINE_REVOCABLE, or the writer owns it already;
 * SYNCLINE_ETOOLARGE; SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_table_open(syncline_writer *writer, const char *name, const struct syncline_table_options *options, syncline_table *table);

/* Gives the table up, for the next owner; so does closing the writer. Readers go on with its last values. Not during a batch or a loan.
 * Errors, of this and all that take a table: SYNCLINE_EINVALID: it is not this writer's, or was given up. */
int syncline_table_close(syncline_writer *writer, syncline_table table);

/* The index of the `n`-th item (from 0) of those of this name; with `name` NULL, of all: index `n` itself, if there is such an item. With a
 * `type` it is made sure that the item has that one; NULL: any.
 * Errors: SYNCLINE_EUNKNOWN: there is none; SYNCLINE_EMISMATCH: it has another type. */
int syncline_table_find(syncline_writer *writer, syncline_table table, const char *name, uint32_t n, const struct syncline_type *type,
                        uint32_t *item);

/* Items that were declared together. */
struct syncline_group {
    const char *name;                 /* "" if they have none */
    const struct syncline_type *type; /* its name, its element's size, whether it is variable */
    uint32_t first;                   /* the index of the first */
    uint32_t count;                   /* how many they are */
    uint32_t max_len;                 /* of the longest value in bytes; the only length, if the type is not variable */
    uint32_t zero;
};

/* What the table was declared to have, by `index` from 0. Returns 1; 0 beyond the last. Valid until the next such call with this writer, or
 * its close. */
int syncline_table_group(syncline_writer *writer, syncline_table table, size_t index, const struct syncline_group **group);

/* Sets an item, a commit of its own. It never waits for readers.
 * Errors: SYNCLINE_EUNKNOWN: the table has no such item; SYNCLINE_EBADVALUE: `len` is not the type's size (or a multiple, if variable);
 * SYNCLINE_ETOOLARGE: over the item's limit; SYNCLINE_EOVERTAKEN: edges passed again and again; SYNCLINE_EINVALID: a batch or loan is
 * open. Nothing is changed then. */
int syncline_table_set(syncline_writer *writer, syncline_table table, uint32_t item, const void *data, size_t len);

/* Sets an item in the open batch, beside messages and items of any of the writer's tables.
 * Errors: as syncline_table_set(), but that SYNCLINE_EINVALID says that no batch is open, or a loan is. The batch stays as it was. */
int syncline_batch_set(syncline_writer *writer, syncline_table table, uint32_t item, const void *data, size_t len);

/* Copies the value of an item as this writer has it, with what its open batch has set, into `buffer` of `size` bytes. `len` (may be NULL) gets
 * how long it is. After a failure the buffer may hold anything.
 * Errors: SYNCLINE_EUNKNOWN: no such item; SYNCLINE_ETOOLARGE: `size` is less than its length, which `len` gets all the same. */
int syncline_table_get(syncline_writer *writer, syncline_table table, uint32_t item, void *buffer, size_t size, size_t *len);

/* The number of this ownership of the table: larger than those of all owners before. Pass it on with what depends on being the owner, and
 * whoever gets that can refuse an older one. */
int syncline_table_fence(syncline_writer *writer, syncline_table table, uint64_t *fence);

/* Whether the owner before this one died while it owned the table: 1, else 0. */
int syncline_table_predecessor_died(syncline_writer *writer, syncline_table table);

/* ---- Tables: reading --------------------------------------------------------------------------------------------------------- */

/* Reads a table. It writes to no shared memory, holds nothing up, and makes no system call while the table keeps its writer; when the table
 * gets another one, it goes on with that. */
typedef struct syncline_table_reader syncline_table_reader;

/* Most calls read at one moment, which `era` says: SYNCLINE_LATEST, what was committed last; or the number of a sealed era, of which two are to be
 * had: the last, syncline_table_reader_generation(), and the one before, that number less 1.
 * Errors of all that take one: SYNCLINE_EGONE: another era (0 is none), or one in which the table had no writer yet, see
 * syncline_detail_gone(); SYNCLINE_EOVERTAKEN: the writer was faster at every try; SYNCLINE_EUNKNOWN: the table has no such item. */
#define SYNCLINE_LATEST UINT64_MAX

/* Opens a table of a zone. With a timeout other than 0 it is waited for.
 * Errors: SYNCLINE_EUNKNOWN: there is none of that name; with a timeout SYNCLINE_ETIMEOUT; SYNCLINE_EINVALID: a bad name;
 * SYNCLINE_EEXHAUSTED; SYNCLINE_ENOBROKER. */
int syncline_table_reader_open(syncline_bus *bus, const char *zone, const char *table, int64_t timeout_ns,
                               syncline_table_reader **reader);

/* How many items the table has. */
int syncline_table_reader_items(syncline_table_reader *reader, uint32_t *items);

/* As syncline_table_group(), valid until the next such call with this reader, or its close; and as syncline_table_find(). */
int syncline_table_reader_group(syncline_table_reader *reader, size_t index, const struct syncline_group **group);
int syncline_table_reader_find(syncline_table_reader *reader, const char *name, uint32_t n, const struct syncline_type *type,
                               uint32_t *item);

/* Who writes the table; `pid` may be NULL. Returns 1; 0 if nobody does at present. The name is valid until the next such call, or the close. */
int syncline_table_reader_writer(syncline_table_reader *reader, const char **name, int32_t *pid);

/* The number of the zone's last sealed era; 0 before the first. */
int syncline_table_reader_generation(syncline_table_reader *reader, uint64_t *generation);

/* Copies the value of an item into `buffer` of `size` bytes. `len` (may be NULL) gets how long it is. After a failure the buffer may hold
 * anything. A value of a type with values that are none (SYNCLINE_BOOL) is not checked: its writer may be broken.
 * Errors: SYNCLINE_ETOOLARGE: `size` is less than its length, which `len` gets all the same. */
int syncline_table_reader_get(syncline_table_reader *reader, uint64_t era, uint32_t item, void *buffer, size_t size, size_t *len);

/* One of several items to read. */
struct syncline_read {
    uint32_t item;
    uint32_t zero;
    void *buffer;
    size_t size; /* of the buffer, in bytes */
    size_t len;  /* set by the call: how long the value is */
};

/* Reads several items (1 or more) that belong together: as one commit has left them, or as of one era. Of the latest commit it tries up to 64
 * times. After a failure the buffers may hold anything.
 * Errors: SYNCLINE_ETOOLARGE: a buffer has less bytes than its value; then all `len` are set. */
int syncline_table_reader_read(syncline_table_reader *reader, uint64_t era, struct syncline_read *reads, uint32_t count);

/* Whether an item was set between the era before this one and this one: 1, else 0.
 * Errors: SYNCLINE_EINVALID: SYNCLINE_LATEST, see syncline_table_reader_changed_since(). */
int syncline_table_reader_changed(syncline_table_reader *reader, uint64_t era, uint32_t item);

/* How far a table is: to be compared with later, by any reader of the table. */
struct syncline_seen {
    uint64_t ownership;
    uint64_t commit;
};

/* How far the table is at this moment. */
int syncline_table_reader_seen(syncline_table_reader *reader, uint64_t era, struct syncline_seen *seen);

/* Whether an item was set between `seen` and this moment: 1, else 0. (If the table had more than a few writers since: 1.) */
int syncline_table_reader_changed_since(syncline_table_reader *reader, uint64_t era, uint32_t item, const struct syncline_seen *seen);

/* How many items were set between `seen` and this moment. `items`, which has room for `capacity`, gets the indices of the first of them, in
 * order; with a capacity of 0 it may be NULL. Looks at every item. */
int syncline_table_reader_changes_since(syncline_table_reader *reader, uint64_t era, const struct syncline_seen *seen, uint32_t *items,
                                        uint32_t capacity);

/* Closes the reader; watches that were opened with it live on. NULL is fine. */
void syncline_table_reader_close(syncline_table_reader *reader);

/* ---- Tables: being told ------------------------------------------------------------------------------------------------------ */

/* Waits until certain items of a table are set. What is set between two calls is told once, with all items concerned; so is a value that is set
 * to what it was. Nothing is lost: who is too slow to be told of each commit is told what is different. */
typedef struct syncline_table_watch syncline_table_watch;

/* Items by index. */
struct syncline_range {
    uint32_t first;
    uint32_t count; /* 1 or more */
};

struct syncline_table_watch_options {
    size_t size;      /* sizeof(struct syncline_table_watch_options) */
    const char *name; /* the watch's, for people */
    const struct syncline_range *ranges;
    uint32_t range_count; /* at most 65536; 0: all items */
    uint32_t synced;      /* 0: told at commits; 1: at edges, what their eras have changed */
    uint64_t every_ns;    /* told once in so long at most: what comes sooner is told together, when the time has come; 0: at once */
    uint32_t wait;        /* enum syncline_wait, and its time */
    uint32_t zero;
    int64_t spin_ns;
};

/* Opens a watch of the reader's table, which needs the reader no longer. What is set after this returns is told.
 * Errors: SYNCLINE_EINVALID: items that the table does not have; as syncline_reader_open(). */
int syncline_table_watch_open(syncline_table_reader *reader, const struct syncline_table_watch_options *options,
                              syncline_table_watch **watch);

/* The items that were set: if there is something to be told now; sleeping until there is. Returns how many, 0 if there are none in time, and puts
 * their indices, in order, into `items`, which has room for `capacity` (1 or more). `left` (may be NULL) gets how many had no room:
 * these come with the next calls, at once and before others. `era` (may be NULL) gets the last era that has set one; 0 if not synced.
 * Errors: SYNCLINE_EOVERTAKEN: the writer was faster at every try, nothing is lost; as syncline_reader_try() and syncline_reader_wait(), but
 * for SYNCLINE_ECLOSED: the table's next writer is waited for. */
int syncline_table_watch_try(syncline_table_watch *watch, uint32_t *items, uint32_t capacity, uint32_t *left, uint64_t *era);
int syncline_table_watch_next(syncline_table_watch *watch, int64_t timeout_ns, uint32_t *items, uint32_t capacity, uint32_t *left,
                              uint64_t *era);

/* A descriptor that is readable while there may be something to be told; as syncline_reader_pollable(). Take with
 * syncline_table_watch_try() until that returns 0: of what had no room, the descriptor says nothing. With `every_ns` it is not readable
 * before the time has come. */
int syncline_table_watch_pollable(syncline_table_watch *watch, int *descriptor);

/* How often the watch looked at a commit that set nothing of what it is for. */
int syncline_table_watch_ignored(syncline_table_watch *watch, uint64_t *commits);

/* Closes the watch. NULL is fine. */
void syncline_table_watch_close(syncline_table_watch *watch);

/* What is called when items were set: `items` has the indices of `count` of them, in order, and `era` is as above. `reader` reads the table; it is
 * for this call alone, and the library's: closing it does nothing. Return 0 to go on; with any other number it is not called again, and
 * syncline_on_change_stop() says that number. It must not be left by an exception or longjmp(). */
typedef int (*syncline_change_callback)(void *context, syncline_table_reader *reader, const uint32_t *items, size_t count, uint64_t era);

/* A watch with a thread that calls back. */
typedef struct syncline_on_change syncline_on_change;

/* Starts it: `callback` is called with `context`, whenever items were set, on a thread of the library.
 * Errors: as syncline_table_watch_open(); SYNCLINE_EIO: no thread can be started. */
int syncline_on_change_start(syncline_table_reader *reader, const struct syncline_table_watch_options *options,
                             syncline_change_callback callback, void *context, syncline_on_change **on_change);

/* Ends the calls, waits for one that is under way, and frees the handle. Returns 0; what the callback has returned to end them; or the error
 * that has ended them before. NULL is fine. Not from the callback: SYNCLINE_EINVALID, and the handle stays. */
int syncline_on_change_stop(syncline_on_change *on_change);

/* ---- Tables: what there is --------------------------------------------------------------------------------------------------- */

typedef struct syncline_tables syncline_tables;

/* A table. */
struct syncline_table_info {
    const char *zone;
    const char *name;
    const char *writer_name; /* "" while it has none */
    uint64_t bytes;          /* of its segment */
    uint64_t fence;          /* the number of the last ownership: see syncline_table_fence() */
    uint32_t items;          /* how many it has */
    uint32_t readers;        /* how many there are, watches included */
    int32_t pid;             /* its writer's process; 0 while it has none */
    uint32_t zero;
};

/* Takes a list of the tables of a zone, with NULL of all zones. A zone that is not there has none.
 * Errors: SYNCLINE_ENOBROKER. */
int syncline_bus_list_tables(syncline_bus *bus, const char *zone, syncline_tables **tables);

/* The next table. Returns 1; 0 after the last. Valid until the next call or the close. */
int syncline_tables_next(syncline_tables *tables, const struct syncline_table_info **table);

/* Frees the list. NULL is fine. */
void syncline_tables_close(syncline_tables *tables);
/* ---- Locks ------------------------------------------------------------------------------------------------------------------- */

/* A lock that is held: by one process at a time, which the broker chooses in the order in which they asked. It is given back by
 * syncline_lock_release() or syncline_lock_commit(), or by the death of the process; not by the end of the bus, and not while the process is
 * stopped. Any thread may give it back, one at a time. In a child of fork() it is the parent's: releasing it there frees the child's copy. */
typedef struct syncline_lock syncline_lock;

/* Acquires the lock of this name in a zone, which need not exist. With a timeout of 0: if nobody holds it. Locks have names of their own: one
 * may be called as a channel is. Who asks for a lock that it holds itself waits for it as for anybody's.
 * Returns 1 with the lock; 0 if it was not to be had in time, and the place in the queue is given up.
 * Errors: SYNCLINE_EINVALID: a bad name; SYNCLINE_EEXHAUSTED: too many locks of this bus; SYNCLINE_ENOBROKER. */
int syncline_lock_acquire(syncline_bus *bus, const char *zone, const char *name, int64_t timeout_ns, syncline_lock **lock);

/* The number of this grant, larger than that of any earlier grant of this broker. What the lock guards can remember the last one, and refuse
 * whoever comes with a smaller one. */
int syncline_lock_fence(syncline_lock *lock, uint64_t *fence);

/* 1 if whoever had the lock last died with it, so that what it guards may be half done; else 0. */
int syncline_lock_predecessor_died(syncline_lock *lock);

/* Whether there is still a lock.
 * Errors: SYNCLINE_ENOBROKER: its broker has gone, and with it all its locks. */
int syncline_lock_check(syncline_lock *lock);

/* Commits the writer's batch and gives the lock back, in one step: if the process dies in the middle of it, the next holder finds either all of
 * the batch, and is told of no death, or nothing of it, and is. The handle is freed and the batch over, also if it fails; but not with
 * SYNCLINE_EFORKED or SYNCLINE_EINVALID: no batch is open, a loan is, or the writer is of another bus.
 * Errors: as syncline_batch_commit(), and SYNCLINE_ENOBROKER; nothing is committed then. */
int syncline_lock_commit(syncline_lock *lock, syncline_writer *writer);

/* Gives the lock back, and frees the handle. NULL is fine. */
void syncline_lock_release(syncline_lock *lock);

/* How a lock stands. */
struct syncline_lock_state {
    uint64_t fence;     /* the holder's grant; 0: nobody holds it */
    int32_t holder_pid; /* 0: nobody holds it */
    uint32_t waiting;   /* how many wait for it */
    uint32_t died;      /* 1: whoever had it last, before the holder if there is one, died with it */
    uint32_t zero;
};

/* Tells of each change of a lock. It belongs to one thread at a time, and has a connection of its own. */
typedef struct syncline_lock_watch syncline_lock_watch;

/* Watches a lock.
 * Errors: SYNCLINE_EINVALID: a bad name; SYNCLINE_ENOBROKER. */
int syncline_lock_watch_open(syncline_bus *bus, const char *zone, const char *name, syncline_lock_watch **watch);

/* Fetches a state into the caller's struct: first how the lock stands, then how after each change. Who leaves thousands of them unfetched loses
 * the connection: SYNCLINE_ENOBROKER. */
int syncline_lock_watch_next(syncline_lock_watch *watch, int64_t timeout_ns, struct syncline_lock_state *state);

/* Ends the watch. NULL is fine. */
void syncline_lock_watch_close(syncline_lock_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
