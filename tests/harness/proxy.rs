//! A loopback TCP connection that can fail.
//!
//! In: the address of a server. Out: an address that leads there, until it is told to fail. It forwards bytes and knows no
//! protocol: TLS goes through end to end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::servers::{self, Serving};

/// What happens to connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// They are closed.
    Cut,
    /// They stay open and nothing comes through; what was sent meanwhile arrives when the fault ends.
    Blackhole,
    /// Each piece of data arrives this much later.
    Delay(Duration),
}

/// What connections go by.
#[derive(Debug, Clone, Copy)]
struct State {
    server: SocketAddr,
    fault: Fault,
    /// A connection ends when this is no longer what it was when the connection began.
    breaks: u64,
}

/// A proxy to one server. Connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    _serving: Serving,
}

impl Proxy {
    /// Starts a proxy that forwards faithfully.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn to(server: SocketAddr) -> Result<Self> {
        let (state, states) = watch::channel(State { server, fault: Fault::None, breaks: 0 });
        let (address, serving) = servers::serve(|listener| accept(listener, states))?;
        Ok(Self { address, state, _serving: serving })
    }

    /// Starts a proxy to a port of the loopback interface.
    ///
    /// # Errors
    /// As for [`Proxy::to`].
    pub fn to_port(port: u16) -> Result<Self> {
        Self::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.state.send_modify(|state| state.server = server);
    }

    /// Closes all connections once; new ones work.
    pub fn break_once(&self) {
        self.state.send_modify(|state| state.breaks += 1);
    }

    /// Closes all connections, and every new one, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.set(Fault::Cut);
        self.break_once();
    }

    /// Keeps connections open and lets nothing through, as a network that drops packets, until [`Proxy::mend`].
    pub fn blackhole(&self) {
        self.set(Fault::Blackhole);
    }

    /// Lets every piece of data wait, each way.
    pub fn delay(&self, by: Duration) {
        self.set(Fault::Delay(by));
    }

    /// Ends the fault.
    pub fn mend(&self) {
        self.set(Fault::None);
    }

    fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }
}

async fn accept(listener: TcpListener, states: watch::Receiver<State>) {
    // Aborts its tasks when it is dropped, with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(forward(client, states.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, to its end: both sides have closed, or it is broken.
async fn forward(client: TcpStream, states: watch::Receiver<State>) {
    let begun = *states.borrow();
    if begun.fault == Fault::Cut {
        return;
    }
    let mut broken = states.clone();
    let both_ways = async {
        open(&mut states.clone()).await;
        let Ok(server) = TcpStream::connect(begun.server).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            one_way(from_client, to_server, states.clone()),
            one_way(from_server, to_client, states.clone()),
        );
    };
    tokio::select! {
        () = both_ways => {}
        _ = broken.wait_for(|state| state.breaks != begun.breaks) => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut states: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        open(&mut states).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    open(&mut states).await;
    // The other side learns that there is no more; it may still have something to say.
    let _ = to.shutdown().await;
}

/// Returns when data may pass.
async fn open(states: &mut watch::Receiver<State>) {
    let fault = states.borrow().fault;
    if let Fault::Delay(by) = fault {
        tokio::time::sleep(by).await;
    }
    // The sender lives as long as the proxy, and with the proxy goes this task.
    let _ = states.wait_for(|state| state.fault != Fault::Blackhole).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap()).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, stream)
    }

    async fn echoed(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
    }

    #[tokio::test]
    async fn a_cut_closes_old_and_new_connections_until_it_is_mended() {
        let (proxy, mut stream) = echo().await;
        assert!(echoed(&mut stream).await);
        proxy.cut();
        wait::until("the connection is closed", LIMIT, async || !echoed(&mut stream).await).await;
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!echoed(&mut another).await);
        proxy.mend();
        let mut third = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(echoed(&mut third).await);
    }

    #[tokio::test]
    async fn a_break_closes_a_connection_and_lets_the_next_one_pass() {
        let (proxy, mut stream) = echo().await;
        assert!(echoed(&mut stream).await);
        proxy.break_once();
        wait::until("the connection is closed", LIMIT, async || !echoed(&mut stream).await).await;
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(echoed(&mut another).await);
    }

    #[tokio::test]
    async fn a_black_hole_answers_when_it_is_mended() {
        let (proxy, mut stream) = echo().await;
        assert!(echoed(&mut stream).await);
        proxy.blackhole();
        let waiting = tokio::time::timeout(Duration::from_millis(200), echoed(&mut stream));
        assert!(waiting.await.is_err());
        proxy.mend();
        let mut answer = [0; 4];
        tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"ping");
    }

    #[tokio::test]
    async fn a_delay_holds_each_way() {
        let (proxy, mut stream) = echo().await;
        proxy.delay(Duration::from_millis(50));
        let start = std::time::Instant::now();
        assert!(echoed(&mut stream).await);
        assert!(start.elapsed() >= Duration::from_millis(100));
    }
}
