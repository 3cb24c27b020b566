//! Confinement: what a child cannot reach, as far as this machine allows.
//!
//! In: the programs `unshare` and `prlimit`, where there are any. Out: commands. Our own code may take nothing away from
//! itself between fork and exec without `unsafe`, which is forbidden; these two programs do.
//! Never: passes on the hub's environment.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nave_proto::backoff::jittered;
use tokio::process::Command;

use super::binaries::in_search_path;
use super::child::{self, Limits};
use super::scratch::Scratch;

/// How a network is taken away: without privileges in a user namespace of its own, or by one who has them.
const WAYS: [&[&str]; 2] = [&["--user", "--net"], &["--net"]];
/// What trying takes.
const OF_A_TRY: Limits = Limits { time: Duration::from_secs(5), memory: 1 << 30, output: 4 << 10 };

/// So long a machine counts as one that takes nothing away, where that could not be established.
const TRIED_AGAIN: Duration = Duration::from_secs(60);

/// What this machine can take away from a child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Confinement {
    /// `unshare` and its arguments: no network.
    unshare: Option<(PathBuf, &'static [&'static str])>,
    /// `prlimit`: a limit of memory that the kernel keeps.
    prlimit: Option<PathBuf>,
    /// There is an `unshare`, and it took nothing away: another time it may.
    pub failed: bool,
}

impl Confinement {
    /// Tries what there is.
    pub async fn of_this_machine() -> Self {
        let prlimit = in_search_path("prlimit");
        let (Some(unshare), Some(program)) = (in_search_path("unshare"), in_search_path("true")) else {
            return Self { unshare: None, prlimit, failed: false };
        };
        for way in WAYS {
            let mut command = Command::new(&unshare);
            command.env_clear().args(way).arg(&program);
            if child::run(command, &OF_A_TRY).await.is_ok() {
                return Self { unshare: Some((unshare, way)), prlimit, failed: false };
            }
        }
        Self { unshare: None, prlimit, failed: true }
    }

    /// A command for a program in its scratch directory.
    pub fn command(
        &self,
        program: &Path,
        arguments: &[OsString],
        scratch: &Scratch,
        limits: &Limits,
    ) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some((unshare, way)) = &self.unshare {
            words.push(unshare.into());
            words.extend(way.iter().map(Into::into));
        }
        if let Some(prlimit) = &self.prlimit {
            words.push(prlimit.into());
            // It writes its output to a pipe; what it writes to files is a mistake.
            // Its threads together take more time than passes; this ends what a hub that was killed left running.
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            let seconds = (limits.time.as_secs() + 1) * u64::try_from(threads).unwrap_or(1);
            let limits = [
                format!("--as={}", limits.memory),
                format!("--cpu={seconds}"),
                format!("--fsize={}", limits.output),
                "--core=0".to_owned(),
                "--nofile=1024".to_owned(),
            ];
            words.extend(limits.into_iter().map(Into::into));
        }
        words.push(program.into());
        let mut words = words.into_iter().chain(arguments.iter().cloned());
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().current_dir(scratch.source());
        let home = scratch.home();
        for variable in
            ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HELM_PLUGINS"]
        {
            command.env(variable, home);
        }
        // Programs of the search path, a cluster: there is none for a child. Three quarters of the memory, from which on it
        // collects what it no longer uses.
        command
            .env("PATH", "")
            .env("KUBECONFIG", "/dev/null")
            .env("GOMEMLIMIT", (limits.memory / 4 * 3).to_string());
        command
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.unshare {
            Some(_) => "without network",
            None => "with network (unshare of util-linux is missing, or namespaces are not allowed)",
        })?;
        f.write_str(match self.prlimit {
            Some(_) => ", memory limited",
            None => ", memory not limited (prlimit of util-linux is missing)",
        })
    }
}

/// What is known of this machine, and until when.
#[derive(Debug, Default)]
pub(super) struct Known(Option<(Confinement, Option<Instant>)>);

impl Known {
    /// It, unless it is to be tried again.
    pub fn get(&self, now: Instant) -> Option<&Confinement> {
        let (confinement, until) = self.0.as_ref()?;
        until.is_none_or(|until| now < until).then_some(confinement)
    }

    /// Keeps what was found; `random` is in 0..1.
    pub fn put(&mut self, confinement: Confinement, now: Instant, random: f64) {
        let until = confinement.failed.then(|| now + jittered(TRIED_AGAIN, random));
        self.0 = Some((confinement, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_taken_away_is_tried_again_and_what_there_is_no_program_for_is_not() {
        // (whether it failed, after so many seconds, whether it is still known)
        let rows = [(true, 40, true), (true, 80, false), (false, 40, true), (false, 1_000_000, true)];
        let now = Instant::now();
        for (failed, seconds, expected) in rows {
            let mut known = Known::default();
            assert_eq!(known.get(now), None);
            known.put(Confinement { failed, ..Confinement::default() }, now, 0.5);
            let then = now + Duration::from_secs(seconds);
            assert_eq!(known.get(then).is_some(), expected, "{failed} after {seconds} s");
        }
    }
}
