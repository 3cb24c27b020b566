//! Programs that a test starts, watches, and ends by their process id.
//!
//! In: a program and its arguments. Out: a [`Process`] whose output goes to two files. Dropping it kills and reaps it. It
//! never touches a process that it did not start, and never leaves one behind.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, kill_process};
use tokio::net::TcpStream;

pub use rustix::process::Signal;

use crate::wait;

/// As many lines of each output as an error shows.
const TAIL: usize = 30;

/// The path of a binary of this workspace, as `hub`: in `NAVE_BINARIES` where that is set, as for release builds, else
/// where cargo has put it, above this test's own executable.
///
/// # Errors
/// When it has not been built; a test target does not build the binaries of other packages.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("NAVE_BINARIES") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let test = std::env::current_exe().context("finding the test's own executable")?;
            let above = test.parent().and_then(Path::parent);
            above.context("the test runs outside a target directory")?.to_owned()
        }
    };
    let path = directory.join(name);
    ensure!(path.is_file(), "{} is not there: run `cargo build --workspace --bins`", path.display());
    Ok(path)
}

/// A program that has not been started.
#[derive(Debug)]
pub struct Program {
    name: String,
    command: Command,
}

impl Program {
    /// A binary of this workspace, as [`binary`] finds it.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn built(name: &str) -> Result<Self> {
        Ok(Self::at(binary(name)?))
    }

    /// The program of that path.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, command: Command::new(path) }
    }

    /// Names the log files, where one program runs twice in a directory.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment, which is otherwise the test's own.
    pub fn env(mut self, variable: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(variable, value);
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Starts it. Output goes to `NAME.stdout` and `NAME.stderr` in the directory, after what an earlier run left there.
    ///
    /// # Errors
    /// When the files cannot be opened or the program cannot be started.
    pub fn start(mut self, logs: &Path) -> Result<Process> {
        let [stdout, stderr] =
            ["stdout", "stderr"].map(|stream| logs.join(format!("{}.{stream}", self.name)));
        let open = |path: &PathBuf| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("opening {}", path.display()))
        };
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(open(&stdout)?)
            .stderr(open(&stderr)?)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        Ok(Process { name: self.name, child, stdout, stderr })
    }

    /// Runs it to its end, no longer than `limit`, and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it fails, with both outputs; or is not done within the limit, and then it is killed.
    pub async fn output(self, limit: Duration) -> Result<String> {
        let Self { name, command } = self;
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = tokio::time::timeout(limit, command.output()).await else {
            bail!("{name} was not done within {limit:?}");
        };
        let output = output.with_context(|| format!("running {name}"))?;
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        ensure!(output.status.success(), "{name}: {}\n{}{}", output.status, stdout, stderr.trim_end());
        Ok(stdout)
    }
}

/// A process that this test started.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The last lines of both outputs, for the message of a failure.
    pub fn tail(&self) -> String {
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL)..].join("\n")
        };
        format!("--- stdout of {}\n{}\n--- stderr\n{}", self.name, last(self.stdout()), last(self.stderr()))
    }

    /// Waits for a line that contains the text, in either output, and returns the first such line.
    ///
    /// # Errors
    /// When the process ends first, or the limit passes, with the last lines of its output.
    pub async fn line(&mut self, text: &str, limit: Duration) -> Result<String> {
        self.while_it_runs(&format!("a line with {text:?}"), limit, async |process| {
            let written = process.stdout() + &process.stderr();
            written.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }

    /// Waits until something accepts connections at the port of the loopback interface.
    ///
    /// # Errors
    /// As for [`Process::line`].
    pub async fn port(&mut self, port: u16, limit: Duration) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.while_it_runs(&format!("a listener at {address}"), limit, async |_| {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await
    }

    /// Looks until there is a value, as long as the process runs.
    ///
    /// # Errors
    /// As for [`Process::line`].
    pub async fn while_it_runs<L: wait::Look>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut(&Self) -> L,
    ) -> Result<L::Value> {
        let outcome = wait::within(limit, async || match look(self).await.seen() {
            Ok(value) => Ok(Ok(value)),
            Err(state) => match self.status() {
                Some(status) => Ok(Err(format!("it ended with {status}"))),
                None => Err(state),
            },
        })
        .await;
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(state)) => bail!("{} did not come to {what}: {state}\n{}", self.name, self.tail()),
            Err(state) => {
                bail!("{} did not come to {what} within {limit:?}: {state}\n{}", self.name, self.tail())
            }
        }
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child that only we wait for can be waited for")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after the limit.
    pub async fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        match wait::within(limit, async || self.status()).await {
            Ok(status) => Ok(status),
            Err(_) => bail!("{} still runs after {limit:?}\n{}", self.name, self.tail()),
        }
    }

    /// Sends a signal; `STOP` and `CONT` make a process that hangs and recovers. One that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.status().is_none() {
            // Not reaped, so the id still names our child.
            kill_process(Pid::from_child(&self.child), signal).expect("our own child takes our signals");
        }
    }

    /// Asks it to end (`SIGTERM`) and waits until it has.
    ///
    /// # Errors
    /// When it still runs after the limit.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.exit(limit).await
    }

    /// Ends it at once (`SIGKILL`), as a power cut would, and reaps it.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child that only we wait for can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Program {
        Program::at("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_line_is_awaited_and_a_killed_process_is_gone() {
        let logs = tempfile::tempdir().unwrap();
        let mut process = shell("echo up; exec sleep 1000").start(logs.path()).unwrap();
        assert_eq!(process.line("up", LIMIT).await.unwrap(), "up");
        let entry = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
    }

    #[tokio::test]
    async fn a_process_that_ends_early_says_how_and_shows_its_output() {
        let logs = tempfile::tempdir().unwrap();
        let mut process = shell("echo no such flag >&2; exit 3").start(logs.path()).unwrap();
        let error = process.line("up", LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such flag"), "{error}");
    }

    #[tokio::test]
    async fn a_signal_is_heard() {
        let logs = tempfile::tempdir().unwrap();
        let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";
        let mut process = shell(script).start(logs.path()).unwrap();
        process.line("up", LIMIT).await.unwrap();
        assert_eq!(process.terminate(LIMIT).await.unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn a_failed_run_shows_both_outputs() {
        let error = shell("echo half; echo broken >&2; exit 1").output(LIMIT).await.unwrap_err().to_string();
        assert!(error.contains("half") && error.contains("broken"), "{error}");
    }
}
