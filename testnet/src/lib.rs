//! Many Hedgerow peers at once.
//!
//! [`sim`] runs real [`hedgerow_protocol::Engine`]s in virtual time over a modelled network that
//! carries their encoded bytes. What happens is written into a [`journal`], and [`check`] judges
//! it; neither knows where the journal came from, so that any other way to run peers can be
//! judged by the same rules; [`measure`] puts it into the field's figures. [`scenario`] reads what
//! is to be run from a file, [`run`] runs it, [`results`] writes what came of it, [`report`] makes a
//! page of that, [`sweep`] runs many. [`process`] runs real `hedgerow` processes, and [`switch`] joins
//! their hosts.

pub mod check;
pub mod hostile;
pub mod journal;
pub mod measure;
#[cfg(feature = "process")]
pub mod process;
pub mod report;
pub mod results;
pub mod run;
pub mod scenario;
pub mod sim;
pub mod swarm;
pub mod sweep;
#[cfg(feature = "process")]
pub mod switch;
