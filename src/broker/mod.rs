//! The broker.

use crate::error::Result;
use std::path::PathBuf;

#[derive(Debug, Default)]
pub struct Config {
    pub socket: Option<PathBuf>,
}
#[derive(Debug)]
pub struct Broker;
#[derive(Debug)]
pub struct BrokerThread;
impl Broker {
    pub fn spawn(_config: Config) -> Result<BrokerThread> {
        Ok(BrokerThread)
    }
}
