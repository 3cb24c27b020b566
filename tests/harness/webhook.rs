//! A mutating admission webhook that sets one field of one object, whoever writes it.
//!
//! In: an object, a field, a value. Out: the configuration that makes an API server ask it. It speaks TLS, as API servers
//! want; what it does not know it lets pass as it is.

use std::sync::Arc;

use anyhow::Result;
use axum::body::{self, Body};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::servers::{self, Serving};
use crate::tls::Authority;

/// An API server sends an object of up to 3 MiB twice.
const REQUEST_LIMIT: usize = 8 << 20;

/// The webhook. It is not there any more when it is dropped.
#[derive(Debug)]
pub struct Webhook {
    url: String,
    authority: Authority,
    _serving: Serving,
}

/// Which object, which field, and what it becomes.
#[derive(Debug)]
struct Sets {
    /// `namespace/name`.
    object: String,
    /// A JSON pointer; what is above it has to be there.
    field: String,
    value: Value,
}

impl Webhook {
    /// A webhook that makes this of a field of the object `namespace/name`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(object: &str, field: &str, value: impl Into<Value>) -> Result<Self> {
        let sets = Arc::new(Sets { object: object.into(), field: field.into(), value: value.into() });
        let authority = Authority::new()?;
        let acceptor = authority.server(&["127.0.0.1", "localhost"])?.listener()?;
        let (address, serving) = servers::serve(|listener| accept(listener, acceptor, sets))?;
        Ok(Self { url: format!("https://{address}/"), authority, _serving: serving })
    }

    /// What makes an API server ask it about every write of these resources of the core group.
    pub fn configuration(&self, name: &str, resource: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.example.com"),
                "clientConfig": {"url": self.url, "caBundle": STANDARD.encode(self.authority.pem())},
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource],
                }],
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }],
        })
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, sets: Arc<Sets>) {
    // Aborts its tasks when it is dropped, with the listener.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let (acceptor, sets) = (acceptor.clone(), sets.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(client).await else { return };
                    let answer = service_fn(|request| answer(&sets, request));
                    // An error is a client that went away.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(sets: &Sets, request: Request<Incoming>) -> Result<Response<Body>, axum::Error> {
    let sent = body::to_bytes(Body::new(request.into_body()), REQUEST_LIMIT).await?;
    let review: Value = serde_json::from_slice(&sent).unwrap_or_default();
    let json = reviewed(sets, &review["request"]).to_string();
    let response = Response::builder().header(CONTENT_TYPE, "application/json").body(Body::from(json));
    Ok(response.expect("its parts are constants"))
}

fn reviewed(sets: &Sets, asked: &Value) -> Value {
    let metadata = &asked["object"]["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let mut response = json!({"uid": asked["uid"], "allowed": true});
    if format!("{}/{}", text("namespace"), text("name")) == sets.object {
        let patch = json!([{"op": "add", "path": sets.field, "value": sets.value}]).to_string();
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(patch).into();
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}
