//! Figures: percentiles of samples, and what the kernel says of a process.

use std::time::Duration;

use harness::process::Process;
use serde_json::{Value, json};

/// p50, p99 and max, in milliseconds.
pub fn times(samples: &mut [Duration]) -> Value {
    samples.sort_unstable();
    json!({"p50_ms": at(samples, 50), "p99_ms": at(samples, 99), "max_ms": at(samples, 100)})
}

/// A percentile by the nearest rank, with one decimal.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    (sorted[rank - 1].as_secs_f64() * 10_000.0).round() / 10.0
}

/// A size of a running process, `VmRSS` or `RssAnon`, in KB.
pub fn size(process: &Process, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The time that a process has been on a processor, user and system.
pub fn cpu(process: &Process) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    // The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th field.
    let after = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = after.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // Linux tells processor time in hundredths of a second, whatever its timer does.
    Duration::from_millis(ticks * 10)
}

/// How many threads it has.
pub fn threads(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap().count()
}

/// Joins objects into one; later ones win.
pub fn joined(parts: &[Value]) -> Value {
    let fields = parts.iter().filter_map(Value::as_object).flatten();
    fields.map(|(key, value)| (key.clone(), value.clone())).collect()
}
