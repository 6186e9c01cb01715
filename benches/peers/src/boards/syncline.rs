//! Syncline: a table of a hundred items.

use super::{Board, COUNT, INDEX, Value, look};
use crate::Result;
use crate::peer::Plan;
use std::path::PathBuf;
use std::time::Duration;
use syncline::broker::{Broker, BrokerThread, Config};
use syncline::{Bus, Error, Item, TableReader};

const ZONE: &str = "state";
const TABLE: &str = "values";

pub struct Syncline;

pub struct Writer {
    writer: syncline::Writer,
    items: Vec<Item<Value>>,
    // Keeps the connection.
    _bus: Bus,
}

pub struct Reader {
    reader: TableReader,
    item: Item<Value>,
    items: Vec<Item<Value>>,
    // Keeps the connection.
    _bus: Bus,
}

fn socket(plan: &Plan) -> PathBuf {
    plan.place.join(format!("syncline-{}.sock", plan.number))
}

impl Board for Syncline {
    const NAME: &'static str = crate::peers::OURS;
    const TITLE: &'static str = "**Syncline**";
    const SINGLY: Option<&'static str> = None;
    type Host = BrokerThread;
    type Writer = Writer;
    type Reader = Reader;

    fn version() -> String {
        format!(
            "this tree; a table of {COUNT} items, `Writer::set` and `TableReader::get`, which go on over a change of writers; each set is a commit of \
             its own, which also says in a lane which item it was; {COUNT} items together by `TableReader::read`; its broker sleeps"
        )
    }

    fn host(plan: &Plan) -> Result<BrokerThread> {
        Ok(Broker::spawn(Config { socket: Some(socket(plan)), ..Config::default() })?)
    }

    fn writer(plan: &Plan) -> Result<Writer> {
        let bus = Bus::connect_to(&socket(plan))?;
        let mut writer = bus.zone(ZONE).writer("peers")?;
        let table = writer.table(TABLE).items::<Value>("", COUNT).open()?;
        let items = (0..COUNT).map(|n| writer.item_at(table, n)).collect::<syncline::Result<_>>()?;
        Ok(Writer { writer, items, _bus: bus })
    }

    fn reader(plan: &Plan) -> Result<Reader> {
        let bus = Bus::connect_to(&socket(plan))?;
        let reader = bus.zone(ZONE).wait_table(TABLE, Duration::from_secs(10))?;
        let items = (0..reader.len()).map(|n| reader.item_at(n)).collect::<syncline::Result<_>>()?;
        Ok(Reader { item: reader.item_at(INDEX)?, reader, items, _bus: bus })
    }

    #[inline(always)]
    fn set(writer: &mut Writer, value: &Value) -> Result<()> {
        Ok(writer.writer.set(writer.items[INDEX as usize], value)?)
    }

    #[inline(always)]
    fn get(reader: &mut Reader) -> Result<u64> {
        loop {
            match &reader.reader.get(reader.item) {
                Ok(value) => return look(value),
                Err(Error::Overtaken) => {}
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }

    fn set_of(writer: &mut Writer, index: u32, value: &Value) -> Result<()> {
        Ok(writer.writer.set(writer.items[index as usize], value)?)
    }

    fn get_all(reader: &mut Reader, words: &mut [u64; COUNT as usize]) -> Result<u64> {
        let items = &reader.items;
        let (mut tries, mut torn) = (0, None);
        loop {
            let read = reader.reader.read(|view| {
                tries += 1;
                for (word, item) in words.iter_mut().zip(items) {
                    match look(&view.get(*item)?) {
                        Ok(found) => *word = found,
                        Err(error) => torn = Some(error),
                    }
                }
                Ok(())
            });
            match read {
                Err(Error::Overtaken) => {}
                read => return torn.map_or(Ok(tries), Err).and_then(|tries| read.map(|()| tries).map_err(Into::into)),
            }
        }
    }
}
