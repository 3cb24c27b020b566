//! A proxy as companies have them: it lets nothing through that does not ask by CONNECT.
//!
//! In: nothing. Out: an address, and whom clients asked to be led to. It looks at no byte of a tunnel.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::servers::{self, Serving};

/// The proxy. Tunnels end when it is dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: Serving,
}

impl ConnectProxy {
    /// Starts one that wants this `Proxy-Authorization`, or none.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(credentials: Option<&str>) -> Result<Self> {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, credentials) = (asked.clone(), credentials.map(str::to_owned));
        let (address, serving) = servers::serve(|listener| accept(listener, noted, credentials))?;
        Ok(Self { address, asked, _serving: serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that clients asked for, `HOST:PORT`, and were led to.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no task panics with it").clone()
    }
}

async fn accept(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>, credentials: Option<String>) {
    let mut tunnels = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        tunnels.spawn(tunnel(client, asked.clone(), credentials.clone()));
        while tunnels.try_join_next().is_some() {}
    }
}

async fn tunnel(mut client: TcpStream, asked: Arc<Mutex<Vec<String>>>, credentials: Option<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) if head.len() < 4096 => head.push(byte),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let Some(to) = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")) else {
        let _ = client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
        return;
    };
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    if credentials.as_deref() != given {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        return;
    };
    asked.lock().expect("no task panics with it").push(to.to_owned());
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
