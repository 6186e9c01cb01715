//! iceoryx2: publish-subscribe, a service for each way; an event beside it for those that sleep.

use crate::Result;
use crate::peer::{End, Peer, Plan, Work, check};
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use std::mem::MaybeUninit;
use std::time::Duration;

pub struct Iceoryx2 {
    size: usize,
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    bell: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    // Ends last.
    _node: Node<ipc::Service>,
}

/// Samples that a subscriber has not taken.
fn buffer(plan: &Plan) -> usize {
    plan.slots()
}

impl Peer for Iceoryx2 {
    const NAME: &'static str = "iceoryx2";
    const TITLE: &'static str = "iceoryx2";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput, Work::Wake];
    type Host = ();

    fn version() -> String {
        format!(
            "{}; publish-subscribe of slices, written in place by `loan_slice_uninit`, read in place; no overflow, a publisher without \
             room retries until it has delivered; asleep: with an event, `notify` and `timed_wait`",
            super::locked("iceoryx2")
        )
    }

    fn room(plan: &Plan) -> String {
        format!("{} samples", buffer(plan))
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<Iceoryx2> {
        let node = node(plan)?;
        let service = |way: &str| -> Result<_> {
            Ok(node
                .service_builder(&service_name(plan, way)?)
                .publish_subscribe::<[u8]>()
                .payload_alignment(Alignment::new(64).ok_or("no such alignment")?)
                .enable_safe_overflow(false)
                .history_size(0)
                .max_publishers(1)
                .max_subscribers(1)
                .subscriber_max_buffer_size(buffer(plan))
                .subscriber_max_borrowed_samples(1)
                .open_or_create()?)
        };
        let event =
            |way: &str| -> Result<_> { Ok(node.service_builder(&service_name(plan, way)?).event().open_or_create()?) };
        let (out, back) = if end == End::First { ("ping", "pong") } else { ("pong", "ping") };
        let publisher = service(out)?
            .publisher_builder()
            .initial_max_slice_len(plan.size)
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let subscriber = service(back)?.subscriber_builder().create()?;
        let bell = if plan.work == Work::Wake {
            let listener = event(&format!("{back}/bell"))?.listener_builder().create()?;
            Some((event(&format!("{out}/bell"))?.notifier_builder().create()?, listener))
        } else {
            None
        };
        Ok(Iceoryx2 { size: plan.size, publisher, subscriber, bell, _node: node })
    }

    fn meet(&mut self, _: End) -> Result<()> {
        self.publisher.update_connections()?;
        self.subscriber.update_connections()?;
        Ok(())
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        let mut sample = self.publisher.loan_slice_uninit(self.size)?;
        let (words, _) = sample.payload_mut().as_chunks_mut::<8>();
        for word in words {
            *word = number.to_le_bytes().map(MaybeUninit::new);
        }
        // SAFETY: every word was written, and sizes are multiples of one.
        if unsafe { sample.assume_init() }.send()? != 1 {
            return Err(format!("message {number} was delivered to nobody").into());
        }
        if let Some((notifier, _)) = &self.bell {
            notifier.notify()?;
        }
        Ok(true)
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        let Some(sample) = self.subscriber.receive()? else { return Ok(0) };
        check(sample.payload(), self.size, number)?;
        Ok(1)
    }

    fn receive(&mut self, number: u64) -> Result<u64> {
        let taken = self.try_receive(number)?;
        if let (0, Some((_, listener))) = (taken, &self.bell) {
            listener.timed_wait(|_| {}, Duration::from_millis(50))?;
            return self.try_receive(number);
        }
        Ok(taken)
    }
}

/// A node of this process.
pub fn node(plan: &Plan) -> Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(plan.place.join("iceoryx2").as_os_str().as_encoded_bytes())?);
    // What it puts beside the place is found, and removed, by this name.
    let place = plan.place.file_name().unwrap_or_default().to_string_lossy();
    config.global.prefix = FileName::new(format!("{place}_").as_bytes())?;
    let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
    Ok(builder.create::<ipc::Service>()?)
}

/// What a service of this run is called.
pub fn service_name(plan: &Plan, way: &str) -> Result<ServiceName> {
    Ok(ServiceName::new(&format!("peers/{}/{way}", plan.number))?)
}
