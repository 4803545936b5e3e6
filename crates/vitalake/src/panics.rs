//! What is said of a panic: where it was and in which thread.
//!
//! Invariant: the words of a panic are never shown, because they may quote a value of a record.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::panic::{PanicHookInfo, set_hook};

/// Replaces what the language says of a panic for the whole process.
pub(crate) fn say_the_place_alone() {
    set_hook(Box::new(say));
}

fn say(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(thread, place, "a thread panicked: report its place");
    } else {
        // There is nobody else to tell when this fails.
        let _ = writeln!(std::io::stderr(), "error: the thread {thread} panicked at {place}; report this place");
    }
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let _ = writeln!(std::io::stderr(), "{trace}");
    }
}
