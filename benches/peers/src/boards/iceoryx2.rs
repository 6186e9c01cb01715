//! iceoryx2's blackboard: a hundred entries, each of them two cells and a count of what was written.

use super::{Board, COUNT, INDEX, Value, look};
use crate::Result;
use crate::peer::Plan;
use crate::peers::iceoryx2::{node, service_name};
use iceoryx2::port::reader::{EntryHandle, Reader};
use iceoryx2::port::writer::{EntryHandleMut, Writer};
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::blackboard::PortFactory;

type Service = ipc::Service;

// SAFETY: words: no pointers, nothing to drop, laid out the same in both processes.
unsafe impl ZeroCopySend for Value {}

pub struct Blackboard;

/// What is dropped last comes last.
pub struct End<Handle, Port> {
    handle: Handle,
    _port: Port,
    _service: PortFactory<Service, u64>,
    _node: Node<Service>,
}

fn open(plan: &Plan) -> Result<(PortFactory<Service, u64>, Node<Service>)> {
    let node = node(plan)?;
    let service = node.service_builder(&service_name(plan, "values")?).blackboard_opener::<u64>().open()?;
    Ok((service, node))
}

impl Board for Blackboard {
    const NAME: &'static str = "iceoryx2";
    const TITLE: &'static str = "iceoryx2";
    const SINGLY: Option<&'static str> = Some("each entry is read by itself");
    type Host = (PortFactory<Service, u64>, Node<Service>);
    type Writer = End<EntryHandleMut<Service, u64, Value>, Writer<Service, u64>>;
    type Reader = End<EntryHandle<Service, u64, Value>, Reader<Service, u64>>;

    fn version() -> String {
        format!(
            "{}; a blackboard of {COUNT} entries, `EntryHandleMut::update_with_copy` and `EntryHandle::get`; nobody told of what was set",
            crate::peers::locked("iceoryx2")
        )
    }

    fn host(plan: &Plan) -> Result<Self::Host> {
        let node = node(plan)?;
        let mut creator = node.service_builder(&service_name(plan, "values")?).blackboard_creator::<u64>();
        for key in 0..COUNT {
            creator = creator.add(key.into(), Value::of(0));
        }
        Ok((creator.create()?, node))
    }

    fn writer(plan: &Plan) -> Result<Self::Writer> {
        let (service, node) = open(plan)?;
        let port = service.writer_builder().create()?;
        Ok(End { handle: port.entry(&INDEX.into())?, _port: port, _service: service, _node: node })
    }

    fn reader(plan: &Plan) -> Result<Self::Reader> {
        let (service, node) = open(plan)?;
        let port = service.reader_builder().create()?;
        Ok(End { handle: port.entry(&INDEX.into())?, _port: port, _service: service, _node: node })
    }

    #[inline(always)]
    fn set(writer: &mut Self::Writer, value: &Value) -> Result<()> {
        writer.handle.update_with_copy(*value);
        Ok(())
    }

    #[inline(always)]
    fn get(reader: &mut Self::Reader) -> Result<u64> {
        look(&reader.handle.get())
    }
}
