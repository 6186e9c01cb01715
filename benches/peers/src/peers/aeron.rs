//! Aeron IPC: an exclusive publication for each way, and the media driver that moves their limits on.

use crate::Result;
use crate::peer::{End, Peer, Plan, Work, check, fill};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rusteron_client::{
    AeronBufferClaim, AeronContext, AeronExclusivePublication, AeronFragmentClosureAssembler, AeronHeader, AeronImage,
    AeronOfferError, AeronSubscription, Handlers,
};
use rusteron_media_driver::{AeronDriver, AeronDriverContext, bindings};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The largest frame; a message that fits is claimed, written and read in place.
const FRAME: usize = 65504;
const FRAME_HEADER: usize = 32;
/// Fragments that one poll takes at most.
const FRAGMENTS: usize = 16;

pub struct Aeron {
    size: usize,
    publication: AeronExclusivePublication,
    claim: AeronBufferClaim,
    /// For messages of more than one frame.
    outgoing: Vec<u8>,
    filled: Option<u64>,
    assembler: AeronFragmentClosureAssembler,
    image: Option<AeronImage>,
    subscription: AeronSubscription,
    // Ends last.
    _client: rusteron_client::Aeron,
}

/// Bytes of a term. Half of one may be between a publication and its reader; a message is at most an eighth. Only the driver makes
/// room again, so what is to flow needs as much as is written while it sleeps.
fn term(plan: &Plan) -> usize {
    let least = if plan.work == Work::Throughput { 4 << 20 } else { 2 * plan.room() };
    least.max(8 * plan.size).next_power_of_two()
}

fn directory(plan: &Plan) -> Result<CString> {
    Ok(CString::new(plan.place.join(format!("aeron-{}", plan.number)).into_os_string().into_vec())?)
}

/// The media driver, on a thread of the first process.
pub struct Driver {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::result::Result<(), rusteron_media_driver::AeronCError>>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the media driver: {error}");
        }
    }
}

/// What a poll has taken.
struct Taken {
    size: usize,
    next: u64,
    count: u64,
    wrong: Option<crate::Failure>,
}

impl Taken {
    #[inline(always)]
    fn take(&mut self, bytes: &[u8]) {
        match check(bytes, self.size, self.next) {
            Ok(()) => (self.next, self.count) = (self.next + 1, self.count + 1),
            Err(error) => self.wrong = self.wrong.take().or(Some(error)),
        }
    }
}

impl Peer for Aeron {
    const NAME: &'static str = "aeron";
    const TITLE: &'static str = "Aeron IPC";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput];
    type Host = Driver;

    fn version() -> String {
        format!(
            "C client and media driver of rusteron {}; exclusive publications, `try_claim` and `poll` in place with up to {FRAGMENTS} \
             fragments; messages over 64 KiB by `offer` and a fragment assembler; back pressure retried. The driver has to run \
             on one of the same two cores: one thread, shared mode, which sleeps for 100 us when idle",
            super::locked("rusteron-client")
        )
    }

    fn room(plan: &Plan) -> String {
        format!("window of {} KiB, 3 terms of {}", term(plan) >> 11, term(plan) >> 10)
    }

    fn host(plan: &Plan) -> Result<Driver> {
        let context = AeronDriverContext::new()?;
        context.set_dir(&directory(plan)?)?;
        context.set_dir_delete_on_start(true)?;
        context.set_dir_delete_on_shutdown(true)?;
        context.set_threading_mode(bindings::aeron_threading_mode_t::AERON_THREADING_MODE_SHARED)?;
        context.set_shared_idle_strategy(c"sleep-ns")?;
        context.set_shared_idle_strategy_init_args(c"100us")?;
        // Wherever there is room: it must not be pinned as this thread is.
        let here = Pid::from_raw(0);
        let pinned = sched_getaffinity(here)?;
        let mut all = CpuSet::new();
        for core in 0..CpuSet::count() {
            all.set(core)?;
        }
        sched_setaffinity(here, &all)?;
        let (stop, thread) = AeronDriver::launch_embedded(context, false);
        sched_setaffinity(here, &pinned)?;
        Ok(Driver { stop, thread: Some(thread) })
    }

    fn open(plan: &Plan, end: End) -> Result<Aeron> {
        let context = AeronContext::new()?;
        context.set_dir(&directory(plan)?)?;
        let client = rusteron_client::Aeron::new(&context)?;
        client.start()?;
        let channel = CString::new(format!("aeron:ipc?term-length={}|mtu={FRAME}", term(plan)))?;
        let (out, back) = if end == End::First { (1, 2) } else { (2, 1) };
        let patience = Duration::from_secs(5);
        let publication = client.async_add_exclusive_publication(&channel, out)?.poll_blocking(patience)?;
        let subscription =
            client.async_add_subscription(&channel, back, Handlers::NONE, Handlers::NONE)?.poll_blocking(patience)?;
        Ok(Aeron {
            size: plan.size,
            publication,
            claim: AeronBufferClaim::new_zeroed_on_heap(),
            outgoing: vec![0; plan.size],
            filled: None,
            assembler: AeronFragmentClosureAssembler::new()?,
            image: None,
            subscription,
            _client: client,
        })
    }

    fn meet(&mut self, _: End) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            self.image = self.subscription.image_at_index(0);
            if self.image.is_some() && self.publication.is_connected() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("publication and subscription have not met".into())
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        let sent = if self.size <= FRAME - FRAME_HEADER {
            self.publication.try_claim(self.size, &self.claim).map(|_| {
                fill(self.claim.data_mut(), number);
                true
            })
        } else {
            if self.filled.replace(number) != Some(number) {
                fill(&mut self.outgoing, number);
            }
            self.publication.offer(&self.outgoing).map(|_| false)
        };
        match sent {
            Ok(true) => Ok(self.claim.commit().map(|_| true)?),
            Ok(false) => Ok(true),
            Err(AeronOfferError::BackPressured | AeronOfferError::AdminAction) => {
                // It is the driver that makes room, and it may need this core.
                std::thread::yield_now();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        let mut taken = Taken { size: self.size, next: number, count: 0, wrong: None };
        if self.size <= FRAME - FRAME_HEADER {
            let image = self.image.as_ref().ok_or("no image")?;
            image.poll_fn(|bytes, _| taken.take(bytes), FRAGMENTS)?;
        } else {
            let take = |taken: &mut Taken, bytes: &[u8], _: AeronHeader| taken.take(bytes);
            self.assembler.poll(&self.subscription, &mut taken, take, FRAGMENTS)?;
        }
        match taken.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(taken.count),
        }
    }
}
