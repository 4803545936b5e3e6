//! What this process uses, as its system says.
//!
//! Invariant: what the system does not say is none, never nought.

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory.
    pub(crate) memory_bytes: Option<u64>,
    /// Time on processors since the process began.
    pub(crate) cpu_seconds: Option<f64>,
}

/// Linux counts processor time for programs in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Asks the system.
pub(crate) fn now() -> Usage {
    Usage { memory_bytes: memory_bytes(), cpu_seconds: read("/proc/self/stat").as_deref().and_then(cpu_seconds) }
}

/// Resident memory of this process.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    read("/proc/self/status").as_deref().and_then(resident_bytes)
}

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The 14th and 15th field; the second, a name, ends with the last bracket.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read_whatever_the_programs_name() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        let stat = "7 (a) b) S 1 7 7 0 -1 0 10 0 0 0 150 50 0 0 20 0 9 0 100";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!((resident_bytes("?"), cpu_seconds("?")), (None, None));
    }
}
