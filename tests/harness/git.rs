//! Real Git repositories, made by the `git` binary.
//!
//! In: files and messages. Out: commits, at paths and at URLs. Author, dates and configuration are fixed, so the same
//! steps give the same commit ids on every machine; the user's own configuration is never read.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

pub use server::Server;

use crate::tls::Authority;

/// 2026-01-01T00:00:00Z. Each commit of a repository is a minute younger than the one made before it.
const FIRST_COMMIT: u32 = 1_767_225_600;

/// A repository with a work tree, on branch `main`.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
    name: String,
    commits: AtomicU32,
}

impl Repository {
    /// An empty repository, with no commit yet.
    ///
    /// # Errors
    /// When there is no `git`.
    pub fn init(name: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("nave-git-")?;
        let repository = Self { directory, name: name.into(), commits: AtomicU32::new(0) };
        fs::create_dir(repository.path())?;
        repository.git(&["init", "--quiet", "--initial-branch=main", "--separate-git-dir=../bare.git"])?;
        Ok(repository)
    }

    /// A repository with one commit of these files.
    ///
    /// # Errors
    /// As for [`Repository::init`].
    pub fn with(name: &str, files: &[(&str, &str)]) -> Result<Self> {
        let repository = Self::init(name)?;
        for (path, text) in files {
            repository.write(path, text)?;
        }
        repository.commit("Begin")?;
        Ok(repository)
    }

    /// Its work tree, which is also what a local clone or a `path` to a repository names.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Writes a file of the work tree, and the directories above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().context("a file stands in a directory")?)?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Removes a file or a directory of the work tree.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, path: &str) -> Result<()> {
        let path = self.path().join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))
    }

    /// Commits the whole work tree, changed or not, and returns the commit's id. Trailers are the message's last paragraph.
    ///
    /// # Errors
    /// When `git` refuses.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// Writes one file and commits.
    ///
    /// # Errors
    /// As for [`Repository::commit`].
    pub fn commit_file(&self, path: &str, text: &str) -> Result<String> {
        self.write(path, text)?;
        self.commit(&format!("Change {path}"))
    }

    /// The id of the commit that the work tree is at.
    ///
    /// # Errors
    /// When there is none.
    pub fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Goes to a branch, which begins here if it is new.
    ///
    /// # Errors
    /// When `git` refuses.
    pub fn switch(&self, branch: &str) -> Result<()> {
        let known = self.git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{branch}")]).is_ok();
        let create: &[&str] = if known { &[] } else { &["--create"] };
        self.git(&[&["switch", "--quiet"], create, &[branch]].concat()).map(drop)
    }

    /// Deletes a branch, be it the one the work tree is on: then the work tree is left at its commit.
    ///
    /// # Errors
    /// When there is no such branch.
    pub fn delete_branch(&self, branch: &str) -> Result<()> {
        self.git(&["switch", "--quiet", "--detach"])?;
        self.git(&["branch", "--quiet", "--delete", "--force", branch]).map(drop)
    }

    /// Sets the branch back to an earlier commit, or anywhere else, as a forced push would.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn rewind(&self, to: &str) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard", to]).map(drop)
    }

    /// Merges a branch with a merge commit, and returns its id.
    ///
    /// # Errors
    /// When there is a conflict.
    pub fn merge(&self, branch: &str, message: &str) -> Result<String> {
        self.git(&["merge", "--quiet", "--no-ff", "-m", message, branch])?;
        self.head()
    }

    /// Runs any other `git` command in the work tree, and returns what it printed, trimmed.
    ///
    /// # Errors
    /// When it fails, with what it wrote to standard error.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let minutes = self.commits.fetch_add(u32::from(makes_a_commit(arguments)), Ordering::Relaxed);
        let date = format!("{} +0000", FIRST_COMMIT + 60 * minutes);
        let output = command(self.directory.path())
            .current_dir(self.path())
            .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)])
            .args(arguments)
            .output()
            .context("running git")?;
        ensure!(
            output.status.success(),
            "git {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Serves the repository over http.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn serve(&self) -> Result<Server> {
        Server::start(self.directory.path(), None)
    }

    /// Serves the repository over https, as `127.0.0.1`, with a certificate of the authority.
    ///
    /// # Errors
    /// As for [`Repository::serve`].
    pub fn serve_tls(&self, authority: &Authority) -> Result<Server> {
        Server::start(self.directory.path(), Some(authority.server(&["127.0.0.1", "localhost"])?.listener()?))
    }
}

fn makes_a_commit(arguments: &[&str]) -> bool {
    arguments.first().is_some_and(|command| ["commit", "merge", "cherry-pick", "revert"].contains(command))
}

/// `git`, with a configuration that is the same everywhere.
fn command(home: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "gc.auto=0", "-c", "commit.gpgSign=false", "-c", "core.autocrlf=false"])
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")]);
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_SSL_CAINFO", "GIT_SSL_NO_VERIFY"] {
        command.env_remove(inherited);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone(url: &str, options: &[&str]) -> Result<Repository> {
        let directory = TempDir::with_prefix("nave-git-")?;
        let status = command(directory.path())
            .args(options)
            .args(["clone", "--quiet", url])
            .arg(directory.path().join("clone"))
            .status()?;
        ensure!(status.success(), "{status}");
        Ok(Repository { directory, name: "clone".into(), commits: AtomicU32::new(0) })
    }

    #[test]
    fn the_same_steps_give_the_same_commits() {
        let steps = || {
            let repository = Repository::with("catalog", &[("a.yaml", "a: 1\n")]).unwrap();
            repository.commit("Allow\n\nNave-Allow-Removal: app/podinfo=12").unwrap()
        };
        assert_eq!(steps(), steps());
    }

    #[test]
    fn a_branch_can_be_rewound_and_deleted() {
        let repository = Repository::with("catalog", &[("a", "1")]).unwrap();
        let first = repository.head().unwrap();
        repository.commit_file("a", "2").unwrap();
        repository.rewind(&first).unwrap();
        assert_eq!(repository.head().unwrap(), first);
        repository.delete_branch("main").unwrap();
        assert_eq!(repository.git(&["branch", "--format=%(refname:short)", "--list", "main"]).unwrap(), "");
    }

    #[test]
    fn it_is_served_over_http_and_the_server_can_refuse() {
        let repository = Repository::with("catalog", &[("a", "1")]).unwrap();
        let server = repository.serve().unwrap();
        assert_eq!(clone(&server.url(), &[]).unwrap().head().unwrap(), repository.head().unwrap());
        assert!(server.requests() >= 2);
        server.refuse(true);
        assert!(clone(&server.url(), &[]).is_err());
        server.refuse(false);
        server.require_password("ada", "secret");
        assert!(clone(&server.url(), &[]).is_err());
        assert!(clone(&server.url_with_password(), &[]).is_ok());
    }

    #[test]
    fn over_https_only_those_who_trust_the_authority_read_it() {
        let repository = Repository::with("catalog", &[("a", "1")]).unwrap();
        let authority = Authority::new().unwrap();
        let server = repository.serve_tls(&authority).unwrap();
        assert!(clone(&server.url(), &[]).is_err());
        let trusted = repository.path().join("authority.pem");
        fs::write(&trusted, authority.pem()).unwrap();
        let option = format!("http.sslCAInfo={}", trusted.display());
        assert!(clone(&server.url(), &["-c", &option]).is_ok());
    }
}
