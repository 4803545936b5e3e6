//! What a run came to, and the generator's own share of the CPU.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

/// Sums and latencies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub events: u64,
    pub bytes: u64,
    pub refused: u64,
    pub last_error: Option<i16>,
    pub latencies_us: Vec<u64>,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub prepare_seconds: f64,
    pub prepare_cpu_seconds: f64,
}

impl Report {
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.refused += other.refused;
        self.last_error = other.last_error.or(self.last_error);
        self.latencies_us.extend(other.latencies_us);
    }

    pub(crate) fn print(mut self, json: bool) -> anyhow::Result<()> {
        self.latencies_us.sort_unstable();
        let percentile_ms = |share: f64| {
            let at = ((self.latencies_us.len() as f64 - 1.0) * share).max(0.0) as usize;
            self.latencies_us.get(at).copied().unwrap_or(0) as f64 / 1000.0
        };
        let (p50_ms, p99_ms, max_ms) = (percentile_ms(0.5), percentile_ms(0.99), percentile_ms(1.0));
        let events_per_s = self.events as f64 / self.seconds;
        let mb_per_s = self.bytes as f64 / self.seconds / 1e6;
        let cpu_share = self.cpu_seconds / self.seconds;
        let mut out = std::io::stdout().lock();
        if json {
            let value = serde_json::json!({
                "events": self.events, "refused": self.refused, "last_error": self.last_error, "seconds": self.seconds, "events_per_s": events_per_s, "mb_per_s": mb_per_s,
                "ack_p50_ms": p50_ms, "ack_p99_ms": p99_ms, "ack_max_ms": max_ms, "own_cpu_share": cpu_share,
            });
            writeln!(out, "{value}")?;
        } else {
            writeln!(
                out,
                "{} events in {:.1} s: {events_per_s:.0} events/s, {mb_per_s:.1} MB/s; refused {} {:?}",
                self.events, self.seconds, self.refused, self.last_error
            )?;
            writeln!(out, "acknowledged after: p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.1} ms per batch")?;
            writeln!(
                out,
                "own CPU: {:.0}% of a core (and {:.1} s before, to make the batches)",
                cpu_share * 100.0,
                self.prepare_cpu_seconds
            )?;
        }
        anyhow::ensure!(
            self.refused == 0,
            "{} events were refused, the last with error {:?}",
            self.refused,
            self.last_error
        );
        Ok(())
    }
}

/// CPU time of this process, user and system, from /proc.
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    let after = stat.rsplit_once(')').map(|(_, after)| after).context("/proc/self/stat")?;
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // A tick is 1/100 s on Linux, whatever the kernel's own clock.
    Ok(Duration::from_millis(ticks * 10))
}
