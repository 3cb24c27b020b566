//! A real etcd.
//!
//! In: nothing. Out: its endpoints. By default it writes through to the disk, so a test may kill it and hold it to what it
//! acknowledged; [`Etcd::forgetful`] gives that up for speed, for clusters whose etcd is not the subject.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::assets;
use crate::port::Port;
use crate::process::{Process, Program, Signal};

const START_LIMIT: Duration = Duration::from_secs(30);

/// One member, alone in its cluster, on the loopback interface without TLS.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    port: Port,
    binary: PathBuf,
    forgetful: bool,
    directory: TempDir,
}

impl Etcd {
    /// Starts an etcd that keeps what it acknowledged, whatever kills it.
    ///
    /// # Errors
    /// When there is no binary, or it does not come up; with the last lines of its log.
    pub async fn start() -> Result<Self> {
        Self::with(&assets::cluster_binaries(false)?, false).await
    }

    /// Starts an etcd that does not wait for the disk.
    ///
    /// # Errors
    /// As for [`Etcd::start`].
    pub async fn forgetful(binaries: &Path) -> Result<Self> {
        Self::with(binaries, true).await
    }

    async fn with(binaries: &Path, forgetful: bool) -> Result<Self> {
        let binary = binaries.join("etcd");
        let directory = TempDir::with_prefix("nave-etcd-")?;
        let port = Port::take()?;
        let process = launch(&binary, directory.path(), port.number(), forgetful).await?;
        Ok(Self { process, port, binary, forgetful, directory })
    }

    /// The URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        vec![url(self.port.number())]
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Makes it hang: connections stay open and nothing answers.
    pub fn freeze(&mut self) {
        self.process.signal(Signal::STOP);
    }

    /// Ends the hanging.
    pub fn thaw(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Starts it again, with its data, at its endpoints. One that runs is killed first.
    ///
    /// # Errors
    /// As for [`Etcd::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.process.kill9();
        self.process =
            launch(&self.binary, self.directory.path(), self.port.number(), self.forgetful).await?;
        Ok(())
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

async fn launch(binary: &Path, directory: &Path, port: u16, forgetful: bool) -> Result<Process> {
    let url = url(port);
    let mut program = Program::at(binary)
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        // A member that is alone has no peers; the kernel picks a port that nobody uses.
        .args(["--listen-peer-urls", "http://127.0.0.1:0", "--log-level", "warn"]);
    if forgetful {
        program = program.arg("--unsafe-no-fsync");
    }
    let mut process = program.start(directory)?;
    process.port(port, START_LIMIT).await?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::wait;

    /// The JSON gateway's answer to a question; it spares this package a client.
    async fn ask(etcd: &Etcd, path: &str, body: &str) -> Result<String> {
        let address = etcd.endpoints()[0].replace("http://", "");
        let mut stream = TcpStream::connect(&address).await?;
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::ensure!(answer.contains("revision"), "{answer}");
        Ok(answer)
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_it_was_killed() {
        // Base64 of "key" and "value".
        let (put, get) = (r#"{"key": "a2V5", "value": "dmFsdWU="}"#, r#"{"key": "a2V5"}"#);
        let mut etcd = Etcd::start().await.unwrap();
        wait::until("it elects itself", START_LIMIT, async || ask(&etcd, "/v3/kv/put", put).await).await;
        etcd.kill9();
        assert!(ask(&etcd, "/v3/kv/range", get).await.is_err());
        etcd.restart().await.unwrap();
        let found =
            wait::until("it answers", START_LIMIT, async || ask(&etcd, "/v3/kv/range", get).await).await;
        assert!(found.contains("dmFsdWU="), "{found}");
    }
}
