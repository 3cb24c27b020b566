//! Ports that belong to one test.
//!
//! In: nothing. Out: a port of the loopback interface that no other test of this machine gets while it is held, not even
//! while nothing listens on it; so a server can be stopped and started again at the same address. Asking the kernel for
//! a free port would not do: it may give the same one to somebody else before the server binds it.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// Below the range from which Linux takes the local ports of outgoing connections (32768 to 60999).
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port held by a lock on a file named after it. The lock ends with the value, or with the process.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port that is free and that nobody else holds.
    ///
    /// # Errors
    /// When the lock files cannot be made, or all ports are taken.
    pub fn take() -> Result<Self> {
        let locks = env::temp_dir().join("nave-test-ports");
        fs::create_dir_all(&locks).with_context(|| format!("making {}", locks.display()))?;

        // Processes begin at different places, to meet seldom; within one, ports are not given again soon.
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        let first = std::process::id() % u32::from(COUNT) * 7;
        for _ in 0..COUNT {
            let offset = (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).expect("it is less than COUNT");
            let lock = OpenOptions::new().create(true).append(true).open(locks.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("none of {COUNT} ports is free");
    }

    /// The port itself.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_given_to_nobody_else() {
        let held: Vec<Port> = (0..50).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = held.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());
        assert!(
            File::open(env::temp_dir().join(format!("nave-test-ports/{}", numbers[0])))
                .unwrap()
                .try_lock()
                .is_err()
        );
    }
}
