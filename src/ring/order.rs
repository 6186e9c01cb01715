//! Every memory ordering of the lock-free core, by name: what it publishes or takes, and which one it pairs with.
//!
//! The code of `ring` writes `word.store(x, FRAME_SHOW.get())`, never a bare `Release`. In an ordinary build `get` is a
//! constant. Under loom it does two things more, and they are the reason for this table:
//!
//! - **mutants**: `SYNCLINE_MUTANT=FRAME_SHOW:Relaxed` weakens that one ordering (`FLOOR_FENCE:Removed` removes a fence),
//!   and the models must then fail. `cargo xtask mutants` tries every entry here and lists the survivors;
//! - **stops**: a model can stop a participant before any of its accesses (`stop`), as `kill -9` would.
//!
//! Whatever is not in this table is `RELAXED`, and the reason stands where it is used.

use crate::sync::Ordering;

/// One named ordering: a load, a store, a read-modify-write or a fence of the core.
#[derive(Clone, Copy)]
pub struct Site {
    #[cfg_attr(not(loom), allow(dead_code, reason = "the name serves the models"))]
    name: &'static str,
    order: Ordering,
}

impl Site {
    /// The ordering to use here.
    #[cfg(not(loom))]
    #[inline(always)]
    pub const fn get(self) -> Ordering {
        self.order
    }

    /// The ordering to use here: the mutant's, if this is the one that it weakens. A participant may be stopped here.
    #[cfg(loom)]
    pub fn get(self) -> Ordering {
        stop::step();
        mutant::of(self).unwrap_or(Ordering::Relaxed)
    }

    /// A fence of this ordering.
    #[inline(always)]
    pub fn fence(self) {
        #[cfg(not(loom))]
        crate::sync::fence(self.order);
        #[cfg(loom)]
        {
            stop::step();
            if let Some(order) = mutant::of(self) {
                crate::sync::fence(order);
            }
        }
    }

    /// This fence, right behind a read-modify-write of the same thread. On x86-64 each of those is a full barrier (it is LOCK-prefixed, also
    /// when a compare-and-swap fails), so only the compiler is left to be bound; elsewhere, and under loom, it is the fence.
    #[inline(always)]
    pub fn fence_behind_rmw(self) {
        #[cfg(all(not(loom), target_arch = "x86_64"))]
        crate::sync::compiler_fence(self.order);
        #[cfg(not(all(not(loom), target_arch = "x86_64")))]
        self.fence();
    }

    /// Whether a mutant leaves out this step, which is more than an ordering: never outside the models. A participant may be stopped here.
    #[cfg(not(loom))]
    #[inline(always)]
    pub const fn is_left_out(self) -> bool {
        false
    }

    /// Whether a mutant leaves out this step, which is more than an ordering. A participant may be stopped here.
    #[cfg(loom)]
    pub fn is_left_out(self) -> bool {
        stop::step();
        mutant::of(self).is_none()
    }

    /// The cheap half of this fence, for whoever meets a `membarrier` on the other side: it binds the compiler only. Under loom, which has
    /// no membarrier, it is the fence.
    #[inline(always)]
    pub fn light_fence(self) {
        #[cfg(not(loom))]
        crate::sync::compiler_fence(self.order);
        #[cfg(loom)]
        self.fence();
    }
}

macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident: $kind:ident $order:ident;)*) => {
        $($(#[$doc])* pub const $name: Site = Site { name: stringify!($name), order: Ordering::$order };)*
        /// Name, kind (`load`, `store`, `rmw`, `fence`, `step`) and ordering of each site, for `cargo xtask mutants`.
        #[cfg(loom)]
        pub const SITES: &[(&str, &str, &str)] = &[$((stringify!($name), stringify!($kind), stringify!($order))),*];
    };
}

/// No order needed: the word is the caller's own, or only its value counts, or a site named nearby orders it.
pub const RELAXED: Site = Site { name: "RELAXED", order: Ordering::Relaxed };

sites! {
    // ---- lane ----
    /// A frame's head: publishes its payload, its version and the empty head after it. Pairs with [`FRAME_SEE`].
    FRAME_SHOW: store Release;
    /// A reader takes a head. Pairs with [`FRAME_SHOW`].
    FRAME_SEE: load Acquire;
    /// A page mark's position: publishes its sequence number and version. Pairs with [`MARK_SEE`].
    MARK_SET: store Release;
    /// A joining reader takes a page mark. Pairs with [`MARK_SET`].
    MARK_SEE: load Acquire;
    /// A row's version: publishes the heads of the commit, on all its lanes. Pairs with [`COMMIT_SEE`].
    COMMIT: store Release;
    /// A reader of joint frames, or an edge, takes a row's version. Pairs with [`COMMIT`] and [`COMPLETE`].
    COMMIT_SEE: load Acquire;

    // ---- floor ----
    /// The floor: publishes the marks up to it. Pairs with [`JOIN_FENCE`].
    FLOOR_SET: store Release;
    /// The writer, between the floor and its look at the roster and the cursors. Pairs with [`JOIN_FENCE`].
    FLOOR_FENCE: fence SeqCst;
    /// A joining reader, between its cursor on the roster and its second look at the floor. Pairs with [`FLOOR_FENCE`]; takes the marks
    /// up to the floor that it loaded, published by [`FLOOR_SET`].
    JOIN_FENCE: fence SeqCst;
    /// The lane of an entry: whoever had it before has read its last. Pairs with [`ENTRY_SEE`].
    ENTRY_SET: store Release;
    /// The writer takes the lane of an entry, before it overwrites what another lane's entry does not hold. Pairs with [`ENTRY_SET`].
    ENTRY_SEE: load Acquire;
    /// The roster: publishes an entry's lane and cursor. Pairs with [`ROSTER_SEE`].
    ROSTER_RAISE: rmw Release;
    /// The writer takes the roster; a reader does before it hands out an era. Pairs with [`ROSTER_RAISE`].
    ROSTER_SEE: load Acquire;
    /// A reader's cursor: its reads are over. Pairs with [`CURSOR_SEE`].
    CURSOR_SET: store Release;
    /// The writer takes a cursor before it overwrites what is behind it. Pairs with [`CURSOR_SET`].
    CURSOR_SEE: load Acquire;
    /// A reader's pin: its reads of the page that it held before are over. Pairs with [`PIN_SEE`].
    PIN_SET: store Release;
    /// A reader, between its pin and its second look at the floor. Pairs with [`FLOOR_FENCE`].
    PIN_FENCE: fence SeqCst;
    /// The writer takes a pin, before it overwrites what is not held any more. Pairs with [`PIN_SET`].
    PIN_SEE: load Acquire;
    /// A reader that holds nothing, between what it has read or copied and its second look at the floor. Pairs with [`FLOOR_FENCE`].
    COPY_FENCE: fence Acquire;

    // ---- sequencer ----
    /// The flip: publishes that the era is decided. Pairs with [`GENERATION_SEE`].
    FLIP: rmw Release;
    /// The generation taken, before its cuts or the next era. Pairs with [`FLIP`].
    GENERATION_SEE: load Acquire;
    /// The generation looked at again, after a cut or a version was loaded, and before it is acted on.
    GENERATION_STILL: load Acquire;
    /// The era being closed: publishes that the era before is sealed. Ordered before the versions by [`CLOSING_FENCE`]. Pairs with
    /// [`CLOSING_SEE`].
    CLOSING_RAISE: rmw Release;
    /// An edge, between `closing` and the versions. Pairs with [`REACTION_FENCE`] and [`MARKER_FENCE`].
    CLOSING_FENCE: fence SeqCst;
    /// A writer looks whether an era is being closed, and then which one is. Ordered after what it reacts to by
    /// [`REACTION_FENCE`]. Pairs with [`CLOSING_RAISE`].
    CLOSING_SEE: load Acquire;
    /// Lockstep: the era being closed, by an edge that has seen all permits: publishes that the era before is sealed. Pairs with
    /// [`CLOSING_SEE`].
    CLOSING_BEGIN: rmw Release;
    /// A helper takes a word of the slot that is not a cut: before it looks at the generation again, or at the tag of whom was decided.
    /// Pairs with [`WORD_DECIDE`].
    WORD_SEE: load Acquire;
    /// A word of the slot, decided: whoever finds it knows that the era before is sealed, and finds the proposer's tag. Pairs with
    /// [`WORD_SEE`].
    WORD_DECIDE: rmw Release;
    /// A writer's batch is no longer open: it was committed, or rolled back. Pairs with [`OPEN_SEE`].
    OPEN_CLEAR: store Release;
    /// An edge looks whether a row has an open batch, before it takes its version. Pairs with [`OPEN_CLEAR`].
    OPEN_SEE: load Acquire;
    /// A helper takes a cut word, before it looks at the generation again; if it is decided, the next era's is no less. Pairs with
    /// [`CUT_DECIDE`].
    CUT_LOOK: load Acquire;
    /// A cut, decided: passes on the commit that it names. Pairs with [`CUT_SEE`] and [`CUT_LOOK`].
    CUT_DECIDE: rmw Release;
    /// A cut, taken by a synced reader. Pairs with [`CUT_DECIDE`].
    CUT_SEE: load Acquire;
    /// A row's version, completed by another than its writer: passes on the frames it has seen. Pairs with [`COMMIT_SEE`].
    COMPLETE: rmw Release;
    /// A writer that reacts, between the completed versions and `closing`. Pairs with [`CLOSING_FENCE`].
    REACTION_FENCE: fence SeqCst;
    /// A live reader that hands out edges too, between a row's version and `closing`. Pairs with [`CLOSING_FENCE`].
    MARKER_FENCE: fence SeqCst;

    // ---- lockstep ----
    /// A permit: publishes the commits that it names. Pairs with [`PERMIT_SEE`].
    PERMIT_SET: rmw Release;
    /// An edge takes a permit. Pairs with [`PERMIT_SET`].
    PERMIT_SEE: load Acquire;
    /// A writer, between its permit and its look at the others'; the broker, between a row's end and its look. Pairs with itself: of two
    /// who are the last, one finds that all have given theirs.
    PERMIT_FENCE: fence SeqCst;
    /// A writer has carried out a roll-back: publishes that its older permit is taken back. Pairs with [`ROLLED_SEE`].
    ROLLED_SET: store Release;
    /// An edge looks whether a row's permit is of this round. Pairs with [`ROLLED_SET`].
    ROLLED_SEE: load Acquire;
    /// A row's end: its lanes have their ends. Pairs with [`STATE_SEE`].
    STATE_SET: store Release;
    /// An edge looks whether a row has a writer, before it takes its version. Pairs with [`STATE_SET`].
    STATE_SEE: load Acquire;

    // ---- halt ----
    /// A writer, between its sign that it commits and its look for a halt. Pairs with [`HALTER_FENCE`].
    HALT_FENCE: fence SeqCst;
    /// Whoever halts, between the halt and its look at the writers. Pairs with [`HALT_FENCE`].
    HALTER_FENCE: fence SeqCst;
    /// A writer's commit is over. Pairs with [`BUSY_SEE`].
    BUSY_CLEAR: store Release;
    /// Whoever halts looks whether a commit is over. Pairs with [`BUSY_CLEAR`].
    BUSY_SEE: load Acquire;
    /// A halt ends: whoever halted has looked its last. Pairs with [`HALT_SEE`].
    HALT_CLEAR: rmw Release;
    /// A writer looks for a halt. Pairs with [`HALT_CLEAR`].
    HALT_SEE: load Acquire;

    // ---- done ----
    /// A reader has done with an era: its reads are over. Pairs with [`TAKEN_SEE`].
    TAKEN_SET: store Release;
    /// Whoever waits until all have done with an era takes how far a reader is. Pairs with [`TAKEN_SET`].
    TAKEN_SEE: load Acquire;

    // ---- bell ----
    /// A ringer, between its deed and its look at the sleepers. Pairs with [`SLEEPER_FENCE`].
    BELL_FENCE: fence SeqCst;
    /// A sleeper, between its bit and its last look. Pairs with [`BELL_FENCE`].
    SLEEPER_FENCE: fence SeqCst;
    /// A sleeper's bit and ticket: orders its look at the bell before the ring. Pairs with [`SLEEPERS_SEE`].
    SLEEPERS_SET: rmw Release;
    /// A ringer takes the sleepers. Pairs with [`SLEEPERS_SET`].
    SLEEPERS_SEE: load Acquire;

    // ---- item ----
    /// A version is being written: whoever finds it knows of the newer one that made it free, and of the generation. Pairs with
    /// [`ITEM_COPY_FENCE`].
    ITEM_WRITE: store Release;
    /// A writer, between that and the value. Pairs with [`ITEM_COPY_FENCE`].
    ITEM_FENCE: fence Release;
    /// A reader, between its copy and its last look at the versions and the generation. Pairs with [`ITEM_FENCE`] and [`ITEM_WRITE`].
    ITEM_COPY_FENCE: fence Acquire;
    /// A live reader looks how many versions are newer than its commit; a synced one, whether the generation has gone too far on.
    ITEM_LAST_LOOK: step Relaxed;
    /// A writer touches its undecided cut before it overwrites what a helper may be about to name.
    ITEM_TOUCH: step Relaxed;
    /// A cut word, touched: publishes the commits before it, and the generation. Pairs with [`CUT_LOOK`] and [`CUT_SEE`].
    CUT_TOUCH: rmw Release;

    // ---- recovery ----
    /// Where a dead writer's lane ends. Pairs with [`END_SEE`].
    END_SET: store Release;
    /// A reader takes the end, after the row's version. Pairs with [`END_SET`].
    END_SEE: load Acquire;
}

#[cfg(loom)]
mod mutant {
    use super::{Ordering, Site};
    use std::sync::OnceLock;

    /// The ordering of `site` in this run; `None` when the mutant removes it.
    pub(super) fn of(site: Site) -> Option<Ordering> {
        static MUTANT: OnceLock<Option<(String, String)>> = OnceLock::new();
        let mutant = MUTANT.get_or_init(|| {
            let text = std::env::var("SYNCLINE_MUTANT").ok()?;
            let (name, order) = text.split_once(':').expect("SYNCLINE_MUTANT=SITE:ORDER");
            assert!(super::SITES.iter().any(|(site, ..)| *site == name), "no site {name}");
            Some((name.to_owned(), order.to_owned()))
        });
        match mutant {
            Some((name, order)) if name == site.name => match order.as_str() {
                "Relaxed" => Some(Ordering::Relaxed),
                "Acquire" => Some(Ordering::Acquire),
                "Release" => Some(Ordering::Release),
                "AcqRel" => Some(Ordering::AcqRel),
                "Removed" => None,
                other => panic!("SYNCLINE_MUTANT: no ordering {other}"),
            },
            _ => Some(site.order),
        }
    }
}

/// Stops a participant of a model before its n-th access, as `kill -9` would.
#[cfg(loom)]
pub mod stop {
    use std::cell::Cell;

    // loom runs its threads as coroutines of one OS thread: only its own thread_local tells them apart.
    loom::thread_local! { static FUEL: Cell<Option<u32>> = Cell::new(None); }

    struct Stopped;

    /// Counts an access; unwinds when the fuel is used up.
    pub(super) fn step() {
        FUEL.with(|fuel| match fuel.get() {
            Some(0) => {
                fuel.set(None);
                std::panic::resume_unwind(Box::new(Stopped));
            }
            Some(n) => fuel.set(Some(n - 1)),
            None => {}
        });
    }

    /// Runs `body` until it is done (`Some`) or has made `accesses` accesses (`None`: it was stopped).
    pub fn after<R>(accesses: u32, body: impl FnOnce() -> R) -> Option<R> {
        FUEL.with(|fuel| fuel.set(Some(accesses)));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        FUEL.with(|fuel| fuel.set(None));
        match result {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Stopped>() => None,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}
