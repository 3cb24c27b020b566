//! A child within its limits.
//!
//! In: a command, limits. Out: what it wrote on its standard output, or why it did not end well.
//! Never: reads more than the limit; leaves the child or a child of its running, whether it is waited for to the end or not.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a child may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until it is killed.
    pub time: Duration,
    /// Bytes of address space.
    pub memory: u64,
    /// Bytes on its standard output.
    pub output: usize,
}

impl Limits {
    /// Of what renders. Charts of hundreds of objects take a second and 200 MB on a slow machine; what is larger than a
    /// bundle may be is refused later, with a better message, if it is not absurd.
    pub const OF_RENDERS: Self = Self { time: Duration::from_secs(15), memory: 2 << 30, output: 32 << 20 };
    /// Of what only says its version.
    pub const OF_QUESTIONS: Self = Self { time: Duration::from_secs(10), memory: 2 << 30, output: 64 << 10 };
}

/// Of the standard error as much is kept: its beginning tells what broke, its end why.
const MOST_SAID: usize = 64 << 10;
/// The most that is read of it, before the child counts as one that says too much.
const MOST_READ: usize = 8 << 20;

/// Why a child gave nothing.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub(super) enum ChildError {
    #[error("it cannot be started")]
    Start(#[source] std::io::Error),
    #[error("it cannot be read from")]
    Read(#[source] std::io::Error),
    #[error("it took longer than {} s", .0.as_secs())]
    Time(Duration),
    #[error("it wrote more than {} MiB", .0 >> 20)]
    Output(usize),
    #[error("{said}")]
    Failed { said: String },
}

/// Kills the child's group unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended meanwhile; it is not reaped before this, so the number is still its own.
            _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs it to its end.
pub(super) async fn run(mut command: Command, limits: &Limits) -> Result<Vec<u8>, ChildError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(ChildError::Start)?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut group = Group(pid);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (written, said) = tokio::try_join!(read(stdout, limits.output), read(stderr, MOST_READ))?;
        Ok((written, said, child.wait().await.map_err(ChildError::Read)?))
    };
    let ended = tokio::time::timeout(limits.time, work).await;
    let (written, said, status) = ended.map_err(|_| ChildError::Time(limits.time))??;
    group.0 = None;
    match status.success() {
        true => Ok(written),
        false => {
            let said = String::from_utf8_lossy(&said[..said.len().min(MOST_SAID)]).into_owned();
            let said = if said.trim().is_empty() { format!("it ended with {status}") } else { said };
            Err(ChildError::Failed { said })
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, ChildError> {
    let mut read = Vec::new();
    if let Some(from) = from {
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        from.take(most).read_to_end(&mut read).await.map_err(ChildError::Read)?;
    }
    if read.len() > limit { Err(ChildError::Output(limit)) } else { Ok(read) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMITS: Limits = Limits { time: Duration::from_secs(20), memory: 1 << 30, output: 1 << 20 };

    #[tokio::test]
    async fn a_child_gives_what_it_writes_or_what_it_says() {
        assert_eq!(run(shell("echo hello; echo no >&2"), &LIMITS).await.expect("it ends well"), b"hello\n");
        let told = |script: &'static str| async move {
            run(shell(script), &LIMITS).await.expect_err(script).to_string()
        };
        assert_eq!(told("echo why >&2; exit 1").await, "why\n");
        assert_eq!(told("exit 3").await, "it ended with exit status: 3");
        let program = run(Command::new("/nowhere/helm"), &LIMITS).await;
        assert!(matches!(program, Err(ChildError::Start(_))), "{program:?}");
    }

    #[tokio::test]
    async fn what_is_endless_is_ended_with_all_its_children() {
        let told = run(shell("yes"), &LIMITS).await.expect_err("it writes for ever").to_string();
        assert_eq!(told, "it wrote more than 1 MiB");
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("held");
        run(shell(&format!("mkfifo {}", fifo.display())), &LIMITS).await.expect("a fifo");
        // It ends for its reader when nobody is left who could write.
        let script = format!("sleep 1000 > {} & wait", fifo.display());
        let held = tokio::task::spawn_blocking(move || std::fs::read(fifo));
        let limits = Limits { time: Duration::from_secs(1), ..LIMITS };
        let told = run(shell(&script), &limits).await.expect_err("it runs for ever").to_string();
        assert_eq!(told, "it took longer than 1 s");
        assert_eq!(held.await.expect("it is read").expect("it can be read"), b"");
    }
}
