//! What the tests, benches and fuzz targets in this repository see of the crate's inside. Not an interface:
//! it changes with every version, and needs the feature `internals`.
//!
//! In: plain values (text, numbers, paths). Out: plain values. Rule: nothing of a private room is
//! given away; what a room calls by a type of its own is a word or a number here.

mod at_boot;
mod flows;
pub mod fuzz;
mod shorten;

pub use at_boot::{SysctlTree, Winner, as_the_kernel_holds_it, next_boot};
pub use flows::{
    Answer, FlowData, NewFlow, PolicyData, Requests, count_dumped, create, dump_chunks, listeners,
    policies, read, walk,
};
pub use shorten::{Counts, Expire};

use crate::assess::Id;
use crate::kernel::netns::{Spec, SpecError, run_in};
use crate::tunable::Key;

/// The text that is put before a line that cttune comments out.
pub const COMMENTED_OUT: &str = crate::boot::adopt::MARK;

pub fn finding_ids() -> Vec<&'static str> {
    Id::ALL.iter().map(|id| id.name()).collect()
}

/// Every key, such as `nf_conntrack_max`, in catalog order.
pub fn keys() -> Vec<&'static str> {
    Key::ALL.iter().map(|key| key.file_name()).collect()
}

/// Takes the terminal as `cttune watch` does, and panics.
///
/// # Panics
/// Always.
#[expect(clippy::panic)] // that is what it is for
pub fn panic_on_a_live_screen() -> std::io::Result<()> {
    let mut screen = crate::screen::Screen::open()?;
    screen.draw(|_, _| vec!["drawn".into()])?;
    panic!("a panic on a live screen")
}

/// Does `work` in a network namespace (a name, a path, `pid:PID`).
pub fn in_netns<T: Send>(netns: &str, work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let spec: Spec = netns
        .parse()
        .map_err(|error: SpecError| error.to_string())?;
    run_in(&spec, work).map_err(|error| error.to_string())
}
