//! Forward: one client's connection, request after request.
//!
//! In: what a client sends, and the faults that meet it. Out: what the server says, as it comes; or what the fault makes of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{self, Body, Bytes};
use futures::StreamExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::fault::{expired, refusal};
use super::{Asked, Fault, RESET, Shared};

/// More than any answer that a test has; a bigger one is not halved, but refused.
const WHOLE: usize = 64 << 20;

/// Ends a client's connection without an answer.
type Cut = io::Error;

pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Aborts its tasks when it is dropped, with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, acceptor.clone(), shared.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = client.set_nodelay(true);
    // Not for programs that the test starts meanwhile: they would keep the connection open.
    let Ok(socket) = client.as_fd().try_clone_to_owned() else { return };
    let Ok(stream) = acceptor.accept(client).await else { return };
    let connection = Arc::new(Connection { shared, socket: Arc::new(socket), server: Mutex::default() });
    let answer = service_fn(move |request| {
        let connection = connection.clone();
        async move { connection.answer(request).await }
    });
    // An error is a cut that was wanted, or a client that went away.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
}

/// A client's connection, with the connection to the server that serves it.
struct Connection {
    shared: Arc<Shared>,
    /// The client's socket, to reset it.
    socket: Arc<OwnedFd>,
    server: Mutex<Option<SendRequest<Body>>>,
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let asked = Asked::of(request.method(), request.uri()).accepting(request.headers());
        let (at, fault) = self.shared.meets(&asked);
        let answer = self.meet(&asked, request, fault).await;
        let code = answer.as_ref().map_or(RESET, |response| response.status().as_u16());
        self.shared.answered(at, &asked, code);
        answer
    }

    async fn meet(
        &self,
        asked: &Asked,
        request: Request<Incoming>,
        fault: Option<Fault>,
    ) -> Result<Response<Body>, Cut> {
        let Some(fault) = fault else { return self.pass(request).await };
        match fault {
            Fault::Answer { code, retry_after } => Ok(refusal(code, retry_after)),
            Fault::Expired if asked.verb == "watch" => Ok(expired()),
            Fault::Expired => Ok(refusal(410, None)),
            Fault::CutBefore => Err(self.reset()),
            Fault::HangBefore => std::future::pending().await,
            Fault::Delay(by) => {
                tokio::time::sleep(by).await;
                self.pass(request).await
            }
            Fault::CutAfter => {
                self.whole(request).await?;
                Err(self.reset())
            }
            Fault::HangAfter => {
                self.whole(request).await?;
                std::future::pending().await
            }
            Fault::ResetInBody(after) => {
                let (head, whole) = self.whole(request).await?;
                let begin = whole.slice(..after.min(whole.len()));
                let reset = self.reset();
                // Delivered before the connection breaks, so that the client is in the middle of it.
                let pieces = futures::stream::once(async { Ok(begin) }).chain(futures::stream::once(async {
                    tokio::time::sleep(DELIVERED).await;
                    Err(reset)
                }));
                Ok(Response::from_parts(head, Body::from_stream(pieces)))
            }
            Fault::Truncate => {
                let (mut head, whole) = self.whole(request).await?;
                head.headers.remove(CONTENT_LENGTH);
                Ok(Response::from_parts(head, Body::from(whole.slice(..whole.len() / 2))))
            }
        }
    }

    /// As it is, both ways, unbuffered.
    async fn pass(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let upgrade = hyper::upgrade::on(&mut request);
        let mut response = self.send(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server = hyper::upgrade::on(&mut response);
            // It ends with either side's connection.
            tokio::spawn(async move {
                if let Ok((client, server)) = tokio::try_join!(upgrade, server) {
                    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
            return Ok(response.map(|_| Body::empty()));
        }
        let (mut head, body) = response.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, self.streamed(body)))
    }

    /// The server's whole answer.
    async fn whole(&self, request: Request<Incoming>) -> Result<(hyper::http::response::Parts, Bytes), Cut> {
        let (mut head, body) = self.send(request).await?.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        Ok((head, body::to_bytes(Body::new(body), WHOLE).await.map_err(Cut::other)?))
    }

    async fn send(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Cut> {
        let mut server = self.server.lock().await;
        let ready = match &mut *server {
            Some(open) => open.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            // Nobody is there: the client learns it as it would without a proxy.
            *server = Some(self.shared.upstream.connect().await.map_err(|_| self.reset())?);
        }
        let open = server.as_mut().expect("just made where there was none");
        let answer = open.send_request(request.map(Body::new)).await;
        answer.map_err(|_| self.reset())
    }

    /// An answer's body, until streams are cut or silenced.
    fn streamed(&self, body: Incoming) -> Body {
        let (cut, silenced) = (Switch::of(&self.shared.cut), Switch::of(&self.shared.silenced));
        let begun = (Body::new(body).into_data_stream(), cut, silenced, self.socket.clone());
        Body::from_stream(futures::stream::unfold(Some(begun), async |begun| {
            let (mut pieces, mut cut, mut silenced, socket) = begun?;
            let heard = tokio::select! {
                biased;
                () = cut.thrown() => Some(Err(reset(&socket))),
                () = silenced.thrown() => None,
                piece = pieces.next() => Some(piece?.map_err(Cut::other)),
            };
            let piece = match heard {
                Some(piece) => piece,
                // The connection stays open until it is cut, or the client gives it up.
                None => {
                    cut.thrown().await;
                    Err(reset(&socket))
                }
            };
            let more = piece.is_ok().then_some((pieces, cut, silenced, socket));
            Some((piece, more))
        }))
    }

    fn reset(&self) -> Cut {
        reset(&self.socket)
    }
}

/// The client has read what was sent before within this time, on the loopback interface.
const DELIVERED: Duration = Duration::from_millis(20);

/// From now on closing the socket resets the connection instead of ending it in good order.
fn reset(socket: &OwnedFd) -> Cut {
    // A socket that the client has closed already is as good.
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
    Cut::new(io::ErrorKind::ConnectionReset, "the test wants it")
}

/// Something that happens to what began before.
struct Switch {
    counter: watch::Receiver<u64>,
    begun: u64,
}

impl Switch {
    fn of(counter: &watch::Sender<u64>) -> Self {
        let counter = counter.subscribe();
        let begun = *counter.borrow();
        Self { counter, begun }
    }

    /// Returns when it has happened. The sender lives as long as the proxy, and with the proxy goes this task.
    async fn thrown(&mut self) {
        let begun = self.begun;
        if self.counter.wait_for(|count| *count != begun).await.is_err() {
            std::future::pending().await
        }
    }
}
