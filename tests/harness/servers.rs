//! The runtime of the servers that live inside a test process.
//!
//! They have threads of their own, so that a test which blocks its thread, as `git` and `kubectl` invite to do, does not
//! silence the server that it is waiting for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("harness")
        .enable_all()
        .build()
        .expect("a test process may start threads")
});

/// A server that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at a port of the loopback interface that the kernel chooses, and runs the server that is made of it.
///
/// # Errors
/// When no port can be bound.
pub(crate) fn serve<S>(server: impl FnOnce(TcpListener) -> S) -> Result<(SocketAddr, Serving)>
where
    S: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _guard = RUNTIME.enter();
    let listener = TcpListener::from_std(listener)?;
    Ok((address, Serving(RUNTIME.spawn(server(listener)))))
}
