//! Engines: kustomize and helm, the real ones, as bounded children.
//!
//! In: [`Needs`], the content of exactly the files that they name. Out: what the engine wrote, or why it wrote nothing.
//! A child has no network where the machine allows to take it away, no plugins, an empty environment, a scratch directory with
//! its files alone, and limits of time, memory and output; two run at a time.
//! Never: lets a child outlive its turn; runs one twice for the same needs and the same version.

mod archive;
mod binaries;
mod child;
mod confinement;
mod error;
mod kept;
mod orders;
mod scratch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nave_placement::render::{self, Asks, Chart, Contents, Engine, Needs};
use tokio::sync::{Mutex, Semaphore};

pub use binaries::{Binary, Paths};
pub use error::EngineError;
pub use orders::ASSUMED;

use binaries::Binaries;
use child::Limits;
use confinement::{Confinement, Known};
use kept::Kept;
use scratch::Scratch;

/// Children at a time: a render is work of a processor, and the hub has other work.
const AT_A_TIME: usize = 2;

/// Runs engines.
pub struct Engines {
    binaries: Binaries,
    /// Where scratch directories are made; made itself when it is needed.
    room: PathBuf,
    turns: Semaphore,
    kept: Kept,
    confinement: Mutex<Known>,
    runs: AtomicU64,
    cut_off: AtomicU64,
}

/// An engine, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The engine.
    pub engine: &'static str,
    /// Its program and version, or why there is none.
    pub binary: Result<Binary, String>,
}

impl Engines {
    /// Engines whose scratch directories are made in `room`, from these paths or else the search path.
    pub fn new(room: PathBuf, paths: Paths) -> Self {
        Self {
            binaries: Binaries::new(paths),
            room,
            turns: Semaphore::new(AT_A_TIME),
            kept: Kept::default(),
            confinement: Mutex::default(),
            runs: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
        }
    }

    /// Children started to render since the start: a work counter. A chart is rendered twice and compared; one that asks for the
    /// time once until it does, and at two moments.
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Renders that broke a limit of time or memory since the start. Each cost all of it.
    pub fn cut_off(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// What an engine makes of its files. `files` are by path relative to [`Needs::source`].
    ///
    /// # Errors
    /// When there is no such engine on this machine, or it fails, or breaks a limit; when what it renders would be
    /// something else each time.
    pub async fn render(&self, needs: &Needs, files: &Contents) -> Result<Arc<[u8]>, EngineError> {
        let Some(engine) = needs.engine.name() else { return Ok(Arc::from([])) };
        let confinement = &self.confined().await;
        let _turn = self.turns.acquire().await.map_err(|_| EngineError::Ending)?;
        let binary = self.binaries.find(engine, &self.room, confinement).await?;
        let key = (needs.digest(), binary.version.clone());
        if let Some(kept) = self.kept.get(&key, Instant::now()) {
            return kept;
        }
        let rendered = self.run(needs, files, &binary, confinement).await;
        if rendered.as_ref().is_err_and(EngineError::is_of_limits) {
            self.cut_off.fetch_add(1, Ordering::Relaxed);
        }
        self.kept.put(key, &rendered, Instant::now());
        rendered
    }

    async fn run(
        &self,
        needs: &Needs,
        files: &Contents,
        binary: &Binary,
        confinement: &Confinement,
    ) -> Result<Arc<[u8]>, EngineError> {
        let render = async |files: &Contents, times: usize| {
            let scratch = Scratch::new(&self.room, files.clone(), orders::own(&needs.engine)).await?;
            let mut first: Option<Vec<u8>> = None;
            for _ in 0..times {
                let rendered = self.once(needs, &scratch, binary, confinement).await?;
                match &first {
                    Some(first) => error::same(first, &rendered)?,
                    None => first = Some(rendered),
                }
            }
            Ok(first.unwrap_or_default())
        };
        let Engine::Helm(chart) = &needs.engine else { return Ok(render(files, 1).await?.into()) };
        let uses = match render(&of_chart(chart, files, render::guarded).await?, 2).await {
            Err(EngineError::Refused(uses)) if uses.asks_for_time() => uses,
            rendered => return Ok(rendered?.into()),
        };
        let at = async |moment: &'static str| {
            let look = move |chart: &Chart, files: &Contents| render::guarded_at(chart, files, moment);
            render(&of_chart(chart, files, look).await?, 1).await
        };
        let [early, late] = render::MOMENTS;
        match (at(early).await, at(late).await) {
            (Ok(early), Ok(late)) if early == late => Ok(early.into()),
            // Whatever the time is.
            (Err(early), Err(_)) => Err(early),
            _ => Err(EngineError::Refused(uses)),
        }
    }

    async fn once(
        &self,
        needs: &Needs,
        scratch: &Scratch,
        binary: &Binary,
        confinement: &Confinement,
    ) -> Result<Vec<u8>, EngineError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let arguments = orders::arguments(&needs.engine, binary, scratch);
        let command = confinement.command(&binary.path, &arguments, scratch, &Limits::OF_RENDERS);
        let finished = child::run(command, &Limits::OF_RENDERS).await;
        finished.map_err(|error| EngineError::of(error, binary, scratch, needs))
    }

    /// Which engines there are.
    pub async fn report(&self) -> Vec<Report> {
        let confinement = &self.confined().await;
        let mut reports = Vec::new();
        for engine in ["helm", "kustomize"] {
            let found = self.binaries.find(engine, &self.room, confinement).await;
            reports.push(Report { engine, binary: found.map_err(|error| error.to_string()) });
        }
        reports
    }

    /// What children on this machine are kept from, in words.
    pub async fn confinement(&self) -> String {
        self.confined().await.to_string()
    }

    /// What this machine can take away. What it could not is tried again.
    async fn confined(&self) -> Confinement {
        let mut known = self.confinement.lock().await;
        if let Some(confinement) = known.get(Instant::now()) {
            return confinement.clone();
        }
        let confinement = Confinement::of_this_machine().await;
        known.put(confinement.clone(), Instant::now(), fastrand::f64());
        confinement
    }
}

/// What a chart asks of the cluster that it is rendered for; nothing, where there is none.
///
/// # Errors
/// When a chart that it brings cannot be unpacked.
pub async fn asks(needs: &Needs, files: &Contents) -> Result<Asks, EngineError> {
    match &needs.engine {
        Engine::Helm(chart) => of_chart(chart, files, render::asks).await,
        Engine::Kustomize(_) | Engine::Manifests => Ok(Asks::default()),
    }
}

/// Looks at the files of a chart and of all that it brings.
async fn of_chart<T: Send + 'static>(
    chart: &Chart,
    files: &Contents,
    look: impl FnOnce(&Chart, &Contents) -> T + Send + 'static,
) -> Result<T, EngineError> {
    let (chart, files) = (chart.clone(), files.clone());
    let read = move || archive::unpacked(&chart.directory, &files).map(|files| look(&chart, &files));
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
