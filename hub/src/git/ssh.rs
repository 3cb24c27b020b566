//! SSH: the command by which a server is reached, and what it says when it is not.
//!
//! In: what the configuration says of the server. Out: a command line for `ssh`; the kind of a failure, from what it wrote down.
//! Never: takes a host for the right one that has none of the known keys; reads a person's configuration; asks anybody; leaves
//! more open than the one connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::errors::{Cause, FetchError};

/// Of what is written down when it fails, so much is told.
const TOLD: usize = 500;

/// How a server is reached.
#[derive(Clone, Debug)]
pub(super) struct Ssh {
    command: String,
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
        // What a server that lives but gives nothing keeps waiting ends with the fetch, or no other could ever begin.
        let mut command = format!(
            "timeout -k 1 {most} ssh -F none -E {log} -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known} \
             -o GlobalKnownHostsFile=none -o UpdateHostKeys=no -o ConnectTimeout={seconds} -o ServerAliveInterval={seconds} \
             -o ServerAliveCountMax=1 -o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no",
            log = plain(&log)?,
            known = plain(known_hosts_file)?,
        );
        // Where one key is named, no other is shown: servers give up after a few.
        if let Some(key) = key_file {
            let key = plain(key)?;
            command += &format!(" -o IdentitiesOnly=yes -o IdentityAgent=none -i {key}");
        }
        for file in key_file.into_iter().chain([known_hosts_file]) {
            std::fs::metadata(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        std::fs::write(&log, "")?;
        Ok(Self { command, log })
    }

    /// For `core.sshCommand`.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What a failure was, by what `ssh` wrote down; nothing where it was none of its own.
    pub fn failure(&self, url: &str) -> Option<FetchError> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
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

/// A path as it stands in a shell's line, in an option of `ssh` that expands `%`, and in a list that white space divides: one
/// that needs no quoting in any.
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
        std::fs::write(&known, "").expect("written");
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
            std::fs::write(&log, wrote).expect("written");
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
