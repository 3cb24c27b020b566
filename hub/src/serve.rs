//! The server: the one place that spawns.
//!
//! In: [`Options`]. Out: a running hub, until cancelled or a critical task ends.
//! Tasks and their fates: the listener, gRPC, HTTP, the Git poller, deciding, the watcher of events and each sink are critical:
//! if one ends, the hub ends; none of them ends because something outside does not answer. On
//! cancel the sessions say goodbye first, then the servers stop, then deciding, then the store.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use nave_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE};
use nave_proto::tls::{self, Clock};
use nave_proto::v1::content_server::ContentServer;
use nave_proto::v1::enrolment_server::EnrolmentServer;
use nave_proto::v1::operator_server::OperatorServer;
use nave_proto::v1::session_server::SessionServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::catalogs::Catalogs;
use crate::config::{HubConfig, known};
use crate::deciding::revision::Place;
use crate::deciding::run::{Deciding, Picture, chain};
use crate::engines::Engines;
use crate::events::sinks::{Board, Sink};
use crate::events::watcher::Watcher;
use crate::git::poller::{self, Observation};
use crate::git::{self, FetchError, Repository};
use crate::http::webhook::Webhooks;
use crate::init::{self, InitError};
use crate::listener;
use crate::members::Members;
use crate::members::service::EnrolmentService;
use crate::operator::{OperatorService, Rooms, Turns};
use crate::pki::{Authority, AuthorityError};
use crate::sessions::content::ContentService;
use crate::sessions::service::{SessionService, Sessions};
use crate::sources::Sources;
use crate::store::Store;
use crate::store::bundles::{BundleError, Bundles};
use crate::store::redb::RedbStore;

/// Connections whose handshake is done and that wait for the server: it takes them at once, so a few suffice.
const READY_CONNECTIONS: usize = 64;
/// How long the tasks get to end.
const GRACE: Duration = Duration::from_secs(5);
/// Half the life of the hub's own certificate.
const CERTIFICATE_TURN: Duration = Duration::from_secs(15 * 24 * 3600);

/// What to serve.
#[derive(Clone)]
pub struct Options {
    /// Made by `hub init`.
    pub data_dir: PathBuf,
    /// The root catalog's name.
    pub catalog: nave_placement::CatalogName,
    /// Its repository.
    pub url: String,
    /// What of it is followed: a branch, a tag, a range of versions, a commit; empty for the repository's default branch.
    pub branch: String,
    /// Its directory in the repository.
    pub path: String,
    /// How often Git is asked.
    pub poll: Duration,
    /// Where gRPC listens.
    pub listen: SocketAddr,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// `redb`, or `etcd://…`.
    pub store: String,
    /// Tells the time.
    pub clock: Clock,
    /// The configuration file.
    pub config: HubConfig,
}

impl Options {
    /// What suffices to open the embedded store of a data directory.
    pub fn local(data_dir: PathBuf, clock: Clock) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data_dir,
            catalog: nave_placement::CatalogName::root(),
            url: String::new(),
            branch: String::new(),
            path: String::new(),
            poll: Duration::from_secs(30),
            listen: loopback,
            http: loopback,
            store: "redb".to_owned(),
            clock,
            config: HubConfig::default(),
        }
    }
}

/// Where the hub listens, once it does.
#[derive(Clone, Debug)]
pub struct Ready {
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
}

/// Why the hub does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The CA.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store.
    #[error("cannot open the store {store}")]
    Store {
        /// Which.
        store: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The bundles.
    #[error(transparent)]
    Bundles(#[from] BundleError),
    /// The catalog's repository.
    #[error(transparent)]
    Git(#[from] FetchError),
    /// The directory of engines.
    #[error("cannot clear the scratch directory")]
    Scratch(#[source] std::io::Error),
    /// TLS.
    #[error("cannot use the hub's certificate")]
    Tls(#[from] rustls::Error),
    /// A port.
    #[error("cannot listen on {address}; is another hub running there?")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task that must not end did.
    #[error("the hub cannot go on: {0} ended")]
    Task(&'static str),
}

/// Opens the store that is named.
async fn open_store(options: &Options) -> Result<Arc<dyn Store>, ServeError> {
    let error = |source: Box<dyn std::error::Error + Send + Sync>| ServeError::Store {
        store: options.store.clone(),
        source,
    };
    match options.store.as_str() {
        "redb" => {
            let path = options.data_dir.join("store.redb");
            let opened = RedbStore::open(&path).map_err(|e| error(e.into()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(feature = "etcd")]
        url if url.starts_with("etcd://") => {
            use crate::store::etcd::{EtcdOptions, EtcdStore};
            let parsed = EtcdOptions::new(url, None).map_err(|e| error(e.into()))?;
            let opened = EtcdStore::connect(&parsed).await.map_err(|e| error(e.into()))?;
            Ok(Arc::new(opened))
        }
        _ => Err(error("use `redb` or `etcd://HOST:PORT[,HOST:PORT]/PREFIX`".into())),
    }
}

/// Founds the fleet's records in the store, as `hub init` does.
///
/// # Errors
/// When the store cannot be opened or written.
pub async fn found(options: &Options) -> Result<(), ServeError> {
    let (authority, advertise) = init::open(&options.data_dir)?;
    let store = open_store(options).await?;
    init::found(store, &authority, &options.data_dir, advertise, options.clock.clone()).await?;
    Ok(())
}

/// Serves until cancelled.
///
/// # Errors
/// When it cannot start, or a critical task ended.
pub async fn serve(
    options: Options,
    cancel: CancellationToken,
    ready: oneshot::Sender<Ready>,
) -> Result<(), ServeError> {
    let (authority, advertise) = init::open(&options.data_dir)?;
    let authority = Arc::new(authority);
    let store = open_store(&options).await?;
    let ledger =
        init::found(store, &authority, &options.data_dir, advertise.clone(), options.clock.clone()).await?;
    known::tell(&ledger, options.config.catalogs.as_ref()).await.map_err(InitError::from)?;
    let ledger = Arc::new(ledger);
    let bundles = Arc::new(Bundles::open(&options.data_dir.join("bundles"))?);
    let repository = repository(&options)?;
    let engines = engines(&options)?;
    let (grpc, grpc_address) = bind(options.listen).await?;
    let (http, http_address) = bind(options.http).await?;
    let addresses: Arc<[String]> = addresses(advertise, grpc_address).into();

    let sessions_end = CancellationToken::new();
    let members = Members::new(ledger.clone(), authority.clone(), addresses.clone());
    let sessions = Sessions::new(
        ledger.clone(),
        members.clone(),
        authority.mac().clone(),
        bundles.clone(),
        addresses,
        sessions_end.clone(),
    );
    let (observation, observations) = watch::channel(Observation::default());
    let (picture, pictures) = watch::channel(Arc::new(Picture::default()));
    let poke = watch::Sender::new(());
    let sources =
        Arc::new(Sources::new(options.data_dir.join("sources"), options.config.credentials.clone()));
    let board = Board::new(options.config.sinks.clone(), options.catalog.clone());
    let directory = options.path.trim_matches('/').to_owned();
    let place = Place {
        name: options.catalog.clone(),
        directory,
        is_root: true,
        configured: options.config.catalogs.clone(),
    };
    let root = (place.clone(), repository.clone());
    let catalogs =
        Catalogs::new(root.clone(), options.data_dir.join("git"), options.config.credentials.clone());
    let catalogs = Arc::new(catalogs);
    let operator = OperatorService::new(Arc::new(Rooms {
        ledger: ledger.clone(),
        members: members.clone(),
        sessions: sessions.clone(),
        repository: repository.clone(),
        catalogs: catalogs.clone(),
        sources: sources.clone(),
        engines: engines.clone(),
        bundles: bundles.clone(),
        place: place.clone(),
        observations: observations.clone(),
        poke: poke.clone(),
        picture: pictures.clone(),
        fleet: authority.fleet().to_owned(),
        sinks: board.clone(),
        turns: Turns::default(),
    }));

    let config = Arc::new(ArcSwap::from_pointee(server_config(&authority, &options.clock)?));
    let (connections, incoming) = mpsc::channel(READY_CONNECTIONS);
    let servers_end = CancellationToken::new();
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    tasks.spawn(named(
        "the listener",
        listener::accept(grpc, config.clone(), connections, servers_end.clone()),
    ));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(EnrolmentServer::new(EnrolmentService(members)))
        .add_service(
            SessionServer::new(SessionService(sessions.clone()))
                .max_decoding_message_size(MESSAGE)
                .max_encoding_message_size(MESSAGE),
        )
        .add_service(ContentServer::new(ContentService {
            sessions: sessions.clone(),
            bundles: bundles.clone(),
        }))
        .add_service(OperatorServer::new(operator.clone()).max_encoding_message_size(MESSAGE))
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), servers_end.clone().cancelled_owned());
    tasks.spawn(named("gRPC", server));
    let watcher = Watcher {
        ledger: ledger.clone(),
        sessions: sessions.clone(),
        operator: operator.clone(),
        picture: pictures,
        offline_after: options.config.offline_after,
        ca_until_ms: authority.ends_ms(),
        audit: options.config.audit,
        sinks: options.config.sinks.iter().map(|sink| sink.name.clone()).collect(),
    };
    tasks.spawn(named("the watcher of events", watcher.run(servers_end.clone())));
    for sink in Sink::all(&board, &ledger, authority.fleet()) {
        tasks.spawn(named("a sink", sink.run(servers_end.clone())));
    }
    let webhooks = Webhooks::new(options.config.webhooks.clone(), poke.clone(), options.clock.clone());
    let web = axum::serve(http, crate::http::routes(operator, webhooks))
        .with_graceful_shutdown(servers_end.clone().cancelled_owned());
    tasks.spawn(named("HTTP", async move { web.await }));
    let clock = options.clock.clone();
    let polling = poller::run(
        repository.clone(),
        options.poll,
        poke.subscribe(),
        servers_end.clone(),
        observation,
        move || clock(),
    );
    tasks.spawn(named("the Git poller", polling));
    let (following, cancel_following) = (sources.clone(), servers_end.clone());
    let (poll, poked) = (options.poll, poke.subscribe());
    let follow = async move { following.follow(poll, poked, cancel_following).await };
    tasks.spawn(named("the follower of sources", follow));
    let (following, cancel_following, clock) = (catalogs.clone(), servers_end.clone(), options.clock.clone());
    let poked = poke.subscribe();
    let follow = async move { following.follow(poll, poked, clock, cancel_following).await };
    tasks.spawn(named("the follower of tenants' catalogs", follow));
    let deciding = Deciding::new(ledger, sessions, (catalogs, root, sources), engines, bundles, picture);
    tasks.spawn(named("deciding", deciding.run(observations, servers_end.clone())));
    tasks.spawn(named(
        "the certificate's renewal",
        renew(authority, options.clock, config, servers_end.clone()),
    ));

    info!(grpc = %grpc_address, http = %http_address, "the hub is ready");
    let _ = ready.send(Ready { grpc: grpc_address, http: http_address });
    let outcome = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = tasks.join_next() => Err(ServeError::Task(ended.and_then(Result::ok).unwrap_or("a task"))),
    };
    sessions_end.cancel();
    servers_end.cancel();
    if tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tasks.shutdown().await;
    }
    outcome
}

/// A task with a name that says what ended.
async fn named<T>(name: &'static str, task: impl Future<Output = T>) -> &'static str {
    task.await;
    name
}

/// The engines; what a hub that was killed left of their scratch directories goes.
fn engines(options: &Options) -> Result<Arc<Engines>, ServeError> {
    let room = options.data_dir.join("scratch");
    match std::fs::remove_dir_all(&room) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ServeError::Scratch(error)),
        _ => Ok(Arc::new(Engines::new(room, options.config.engines.clone()))),
    }
}

fn repository(options: &Options) -> Result<Repository, FetchError> {
    let mirror = options.data_dir.join("git").join(options.catalog.as_str());
    let mut settings = git::Options::new(options.url.clone(), mirror);
    settings.branch.clone_from(&options.branch);
    settings.access = git::Access::of(&options.config.credentials, &options.url).cloned();
    Repository::open(settings)
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let error = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

/// Where spokes reach the hub: what was advertised, else where it listens.
fn addresses(advertise: Vec<String>, listen: SocketAddr) -> Vec<String> {
    if !advertise.is_empty() {
        return advertise;
    }
    if !listen.ip().is_unspecified() {
        return vec![listen.to_string()];
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    vec![format!("{host}:{}", listen.port())]
}

fn server_config(authority: &Authority, clock: &Clock) -> Result<rustls::ServerConfig, ServeError> {
    let own = authority.hub(clock())?;
    Ok(tls::server(authority.certificate(), &own, clock.clone())?)
}

/// Exchanges the hub's own certificate at half its life; new handshakes take the new one.
async fn renew(
    authority: Arc<Authority>,
    clock: Clock,
    config: Arc<ArcSwap<rustls::ServerConfig>>,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(CERTIFICATE_TURN) => {}
        }
        match server_config(&authority, &clock) {
            Ok(fresh) => config.store(Arc::new(fresh)),
            Err(error) => error!(error = chain(&error), "the hub's certificate could not be renewed"),
        }
    }
}
