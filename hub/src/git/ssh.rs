//! SSH: the program by which a server is reached, and what it says when it is not.
//!
//! In: what the configuration says of the server. Out: a [`Line`] to it, whose answers are weighed as those over HTTP are; the kind of
//! a failure, from what the program wrote down.
//! Never: takes a host for the right one that has none of the known keys; reads a person's configuration; asks anybody; leaves
//! more open than the one connection.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use gix::url::ArgumentSafety::{Absent, Usable};
use rustix::process::{Pid, Signal, kill_process};

use super::answers::Answer;
use super::errors::{Cause, FetchError};

/// Of what is written down when it fails, so much is read, in bytes, and so much is told.
const READ: u64 = 64 << 10;
const TOLD: usize = 500;

/// A connection to a server.
pub(super) type Line = Connection<Running, ChildStdin>;

/// How a server is reached.
#[derive(Clone, Debug)]
pub(super) struct Ssh {
    options: Vec<String>,
    log: PathBuf,
}

impl Ssh {
    /// By a key, or those that the agent has; what fails is written to `log`. A silent server is given up after `patience`, any after
    /// `time`.
    pub fn new(
        key_file: Option<&Path>,
        known_hosts_file: &Path,
        log: PathBuf,
        (patience, time): (Duration, Duration),
    ) -> Result<Self, Cause> {
        let (seconds, most) = (patience.as_secs().max(1), time.as_secs().max(1));
        let (shown, known) = (plain(&log)?, plain(known_hosts_file)?);
        // What a server that lives but gives nothing keeps waiting ends with the fetch, or no other could ever begin.
        let mut options: Vec<String> =
            ["-k", "1", &most.to_string(), "ssh", "-F", "none", "-E", shown].map(str::to_owned).into();
        let mut add = |option: String| options.extend(["-o".to_owned(), option]);
        add(format!("UserKnownHostsFile={known}"));
        for limit in ["ConnectTimeout", "ServerAliveInterval"] {
            add(format!("{limit}={seconds}"));
        }
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=none",
            "UpdateHostKeys=no",
            "ServerAliveCountMax=1",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "SendEnv=GIT_PROTOCOL",
        ] {
            add(option.to_owned());
        }
        // Where one key is named, no other is shown: servers give up after a few.
        if let Some(key) = key_file {
            add("IdentitiesOnly=yes".to_owned());
            add("IdentityAgent=none".to_owned());
            options.extend(["-i".to_owned(), plain(key)?.to_owned()]);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("ssh").is_file()) {
            return Err("there is no ssh in the search path; install openssh-client".into());
        }
        for file in key_file.into_iter().chain([known_hosts_file]) {
            fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        fs::write(&log, "")?;
        Ok(Self { options, log })
    }

    /// Begins to talk to the server of a repository whose objects have ids of so many bytes.
    ///
    /// # Errors
    /// The program cannot be run, or the URL names no server.
    pub fn connect(&self, url: &gix::Url, id: usize) -> Result<Line, Cause> {
        let host = match (url.user_as_argument(), url.host_as_argument()) {
            (Usable(user), Usable(host)) => format!("{user}@{host}"),
            (Absent, Usable(host)) => host.to_owned(),
            _ => return Err("its URL names no host, or one that would be an option of ssh".into()),
        };
        let path = gix::url::expand_path::for_shell(url.path.clone());
        let quoted = path.to_string().replace('\'', r"'\''");
        let mut command = Command::new("timeout");
        command.args(&self.options);
        if let Some(port) = url.port {
            command.arg(format!("-p{port}"));
        }
        command.args([&host, "git-upload-pack", &format!("'{quoted}'")]);
        // Its words are read.
        command.envs([("GIT_PROTOCOL", "version=2"), ("LANG", "C"), ("LC_ALL", "C")]);
        // What the other side says there is nobody's to read, and could be without end.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|error| format!("cannot run timeout: {error}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("ssh has no pipes".into());
        };
        let running = Running { answer: Answer::new(BufReader::new(stdout), id), child };
        let nobody = None::<(String, Option<u16>)>;
        let line = Connection::new(running, stdin, Protocol::V2, path, nobody, ConnectMode::Process, false);
        Ok(line.custom_url(Some(url.to_bstring())))
    }

    /// What a failure was, by what `ssh` wrote down; nothing where it was none of its own.
    pub fn failure(&self, url: &str) -> Option<FetchError> {
        let mut bytes = Vec::new();
        File::open(&self.log).ok()?.take(READ).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let told: String = text.chars().take(TOLD).collect();
        let (url, cause) = (url.to_owned(), Cause::from(told));
        if has(&["Host key verification failed", "host key is known", "HOST IDENTIFICATION HAS CHANGED"]) {
            return Some(FetchError::UnknownHost { url, cause });
        }
        if has(&["Permission denied", "Too many authentication failures", "UNPROTECTED PRIVATE KEY"]) {
            return Some(FetchError::AuthRefused { url, cause });
        }
        let unreachable = [
            "Could not resolve hostname",
            "Connection refused",
            "Connection timed out",
            "Operation timed out",
            "No route to host",
            "Network is unreachable",
            "Connection closed by",
            "Connection reset by",
            "not responding",
            "banner exchange",
        ];
        has(&unreachable).then_some(FetchError::Unreachable { url, cause })
    }
}

/// The program, for as long as somebody reads what it gives.
pub(super) struct Running {
    answer: Answer<BufReader<ChildStdout>>,
    child: Child,
}

impl Read for Running {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.answer.read(into)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Unless it has ended already: `timeout` ends `ssh`, by force after a second, and leaves nothing behind.
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            _ = kill_process(pid, Signal::TERM);
        }
        self.child.wait().ok();
    }
}

/// A path as it stands in an option of `ssh` that expands `%`, and in a list that white space divides: one that needs no quoting in
/// either.
fn plain(path: &Path) -> Result<&str, Cause> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    let text = path.to_str().filter(|text| !text.starts_with('-') && text.chars().all(legal));
    text.ok_or_else(|| {
        format!("{}: paths for SSH have letters, digits and /._-+@:, alone; move the file", path.display())
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_wrote_down_tells_what_the_failure_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let known = directory.path().join("known_hosts");
        fs::write(&known, "").expect("written");
        let log = directory.path().join("ssh.log");
        let ssh = Ssh::new(None, &known, log.clone(), (Duration::from_secs(10), Duration::from_secs(60)))
            .expect("plain paths");
        // (what it wrote, the failure)
        let rows = [
            ("", ""),
            (
                "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
                "UnknownHost",
            ),
            ("git@h: Permission denied (publickey).", "AuthRefused"),
            ("ssh: connect to host h port 22: Connection refused", "Unreachable"),
            ("ssh: Could not resolve hostname h: Name or service not known", "Unreachable"),
            ("Timeout, server h not responding.", "Unreachable"),
            ("something else", ""),
        ];
        for (wrote, expected) in rows {
            fs::write(&log, wrote).expect("written");
            let failure = ssh.failure("ssh://h/p").map(|failure| format!("{failure:?}")).unwrap_or_default();
            assert_eq!(failure.split(' ').next(), Some(expected), "{wrote}: {failure}");
        }
    }

    #[test]
    fn a_path_that_a_shell_or_ssh_would_read_otherwise_is_refused() {
        for path in ["a b", "a;b", "a$b", "%h", "a'b", "-oProxyCommand=x", "a\"b", "~/k", "ä"] {
            assert!(plain(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(plain(Path::new("/etc/nave/id_ed25519")).expect("plain"), "/etc/nave/id_ed25519");
    }
}
