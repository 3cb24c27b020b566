//! Gate: what may be done on this cluster, whatever the hub says: grants, the local policy, and pauses on the spot.
//!
//! In: plans. Out: the same without what may not be done, and with the reason. Never: adds a step; lets one pass while
//! the policy cannot be read, or it was never seen whether changes are paused; is slower to see a change than one round.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nave_placement::{AppKey, ObjectKey};
use nave_proto::tls::Clock;
use tokio::sync::{Mutex as Turn, watch};

use crate::link;
use crate::pause::{Pause, Pauses};
use crate::plan::{AppPlan, Plan, Step};
use crate::policy::{self, Policy, Removals};
use crate::report::Reason;
use crate::state::State;
use crate::target::ask::Asker;
use crate::target::{Deleted, Inventory, Target, TargetError};

/// The policy, as it stands.
#[derive(Clone, Debug)]
enum Standing {
    /// There is none.
    Free,
    /// This one.
    Holds(Arc<Policy>),
    /// There is one, and it cannot be read: nothing passes.
    Unreadable(String),
}

/// What changed last: a policy is read again when its file does.
type Stamp = Option<(SystemTime, u64)>;

/// Guards a target.
pub struct Gate {
    policy: Option<PathBuf>,
    pause_file: Option<PathBuf>,
    clock: Clock,
    told: watch::Sender<Option<Pause>>,
    state: Arc<State>,
    /// Who counts stores what was counted before the next does.
    counting: Turn<()>,
    inside: Mutex<Inside>,
}

/// It was never seen what is paused on the target; why not.
type Unseen = String;

struct Inside {
    standing: Standing,
    stamp: Option<Stamp>,
    of_target: Result<Pauses, Unseen>,
    of_file: Option<Pause>,
    /// The pauses of single apps that held at the last look.
    held: BTreeMap<AppKey, Pause>,
    removals: Removals,
    /// The next look says so.
    news: bool,
}

impl Gate {
    /// A gate with the policy of this file, and pauses of that one, where there are such. `told` learns of a pause of
    /// everything. What was removed lately is counted in `removals`, and stored in the state.
    pub fn new(
        policy: Option<PathBuf>,
        pause_file: Option<PathBuf>,
        clock: Clock,
        told: watch::Sender<Option<Pause>>,
        (state, removals): (Arc<State>, Removals),
    ) -> Self {
        let read = policy.as_deref().and_then(|path| read_policy(path, None));
        let (stamp, standing) =
            read.map_or((None, Standing::Free), |(stamp, standing)| (Some(stamp), standing));
        if let Standing::Unreadable(why) = &standing {
            tracing::error!(why, "nothing is changed on this cluster");
        }
        let inside = Inside {
            standing,
            stamp,
            of_target: Err("nobody has looked".to_owned()),
            of_file: None,
            held: BTreeMap::new(),
            removals,
            news: false,
        };
        Self { policy, pause_file, clock, told, state, counting: Turn::default(), inside: Mutex::new(inside) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Each change of it is one assignment, so it is whole after a panic too.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at everything that this gate goes by; before each round. Says whether other things may be done than before,
    /// so that every app is to be looked at.
    pub async fn look(&self, target: &dyn Target) -> bool {
        let (policy, pause_file) = (self.policy.clone(), self.pause_file.clone());
        let known = self.inside().stamp;
        let read =
            move || (policy.map(|path| read_policy(&path, known)), pause_file.map(|path| read_pause(&path)));
        let Ok((policy, of_file)) = tokio::task::spawn_blocking(read).await else { return false };
        let of_target = target.pauses().await;
        let mut inside = self.inside();
        let mut news = std::mem::take(&mut inside.news);
        if let Some(Some((stamp, standing))) = policy {
            news = true;
            match &standing {
                Standing::Unreadable(why) => tracing::error!(why, "nothing is changed on this cluster"),
                Standing::Holds(_) | Standing::Free => tracing::info!("the local policy was read"),
            }
            (inside.stamp, inside.standing) = (Some(stamp), standing);
        }
        if let Some(of_file) = of_file {
            inside.of_file = of_file;
        }
        match (of_target, &inside.of_target) {
            (Ok(pauses), known) => {
                news |= known.is_err();
                inside.of_target = Ok(pauses);
            }
            (Err(error), Ok(_)) => {
                tracing::debug!(%error, "whether changes are paused could not be seen; what was known holds")
            }
            (Err(error), Err(_)) => inside.of_target = Err(error.to_string()),
        }
        let now = (self.clock)();
        let paused = inside.paused(now).cloned();
        let apps = inside.of_apps().filter(|(_, pause)| pause.holds(now));
        let apps: BTreeMap<AppKey, Pause> = apps.map(|(app, pause)| (app.clone(), pause.clone())).collect();
        news |= inside.held != apps;
        inside.held = apps;
        drop(inside);
        let other_pause = self.told.send_if_modified(|told| {
            let news = *told != paused;
            if news {
                match &paused {
                    Some(pause) => tracing::warn!(%pause, "nothing is changed on this cluster"),
                    None => tracing::info!("changes go on"),
                }
            }
            *told = paused;
            news
        });
        news || other_pause
    }

    /// The next look says that there is news.
    pub fn look_at_everything(&self) {
        self.inside().news = true;
    }

    /// Whether a pause holds, of everything or of an app: then it is looked again soon, and at its end.
    pub fn is_paused(&self) -> bool {
        let now = (self.clock)();
        let inside = self.inside();
        inside.paused(now).is_some() || inside.of_apps().any(|(_, pause)| pause.holds(now))
    }

    /// Whether the policy or the pause file is another than at the last look; for whoever waits between looks.
    pub async fn has_news(&self) -> bool {
        if self.policy.is_none() && self.pause_file.is_none() {
            return false;
        }
        let (policy, pause_file) = (self.policy.clone(), self.pause_file.clone());
        let (stamp, of_file) = {
            let inside = self.inside();
            (inside.stamp, inside.of_file.clone())
        };
        let differs = move || {
            policy.is_some_and(|path| stamp != Some(stamp_of(&path)))
                || pause_file.is_some_and(|path| read_pause(&path) != of_file)
        };
        tokio::task::spawn_blocking(differs).await.unwrap_or_default()
    }

    /// Leaves in a plan what may be done.
    pub fn allow(&self, plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
        let now = (self.clock)();
        let inside = self.inside();
        policy::keep_to_grants(plan, inventories);
        match &inside.standing {
            Standing::Free => {}
            Standing::Holds(policy) => policy.allow(plan, inventories),
            Standing::Unreadable(why) => {
                for steps in plan.apps.values_mut() {
                    rest(steps);
                    steps.blocked.push(Reason::Unpermitted { message: why.clone() });
                }
            }
        }
        let all = inside.paused(now);
        for (app, steps) in &mut plan.apps {
            let of_app = || inside.of_target.as_ref().ok()?.apps.get(app).filter(|pause| pause.holds(now));
            if let Some(pause) = all.or_else(of_app) {
                let waits = rest(steps);
                steps.blocked.push(Reason::Paused { pause: pause.clone(), waits });
            } else if let Err(why) = &inside.of_target {
                rest(steps);
                let message = format!("whether changes are paused is not known yet: {why}");
                steps.blocked.push(Reason::Unreachable { message });
            }
        }
    }

    /// Why a question of this kind (`objects`, `diff`, `events`, `logs`, `adoption`) may not be asked by this role here.
    ///
    /// # Errors
    /// For people.
    pub fn may_ask(&self, question: &str, role: &str) -> Result<(), String> {
        match &self.inside().standing {
            Standing::Free => Ok(()),
            Standing::Holds(policy) if policy.may_ask(question, role) => Ok(()),
            Standing::Holds(_) => {
                Err(format!("the cluster's local policy lets no {role} ask for {question}"))
            }
            Standing::Unreadable(why) => Err(why.clone()),
        }
    }

    /// Counts what an app is about to delete, where the policy limits that; stored when this returns.
    ///
    /// # Errors
    /// Why nothing of it may be deleted now.
    pub async fn may_delete(&self, app: &AppKey, keys: &[&ObjectKey]) -> Result<(), String> {
        let _turn = self.counting.lock().await;
        let record = {
            let mut inside = self.inside();
            let Inside { standing: Standing::Holds(policy), removals, .. } = &mut *inside else {
                return Ok(());
            };
            if !policy.may_delete(app, keys, removals, (self.clock)())? {
                return Ok(());
            }
            removals.record()
        };
        let Err(error) = self.state.store_removals(&record).await else { return Ok(()) };
        keys.iter().for_each(|key| self.came_of(app, key, None));
        let why = link::chain(&error);
        Err(format!(
            "nothing is deleted: that it was could not be stored, which the local policy's maxRemovals needs: {why}"
        ))
    }

    /// What came of a deletion that might be; `None`: it was not tried.
    pub fn came_of(&self, app: &AppKey, key: &ObjectKey, deleted: Option<&Result<Deleted, TargetError>>) {
        self.inside().removals.came_of(app, key, deleted);
    }
}

impl Inside {
    fn paused(&self, now: u64) -> Option<&Pause> {
        let of_target = self.of_target.as_ref().ok().and_then(|pauses| pauses.all.as_ref());
        of_target.into_iter().chain(&self.of_file).find(|pause| pause.holds(now))
    }

    fn of_apps(&self) -> impl Iterator<Item = (&AppKey, &Pause)> {
        self.of_target.iter().flat_map(|pauses| &pauses.apps)
    }
}

/// Takes all steps of an app out; says whether one would have changed anything.
fn rest(steps: &mut AppPlan) -> bool {
    let changes = |step: &Step| {
        matches!(step, Step::Apply { .. } | Step::Prune { .. } | Step::Orphan { .. } | Step::Widen(_))
    };
    let any = steps.raise.iter().chain(&steps.settle).any(changes);
    steps.raise.clear();
    steps.settle.clear();
    any
}

/// The policy, if its file is another than the one that is known.
fn read_policy(path: &Path, known: Option<Stamp>) -> Option<(Stamp, Standing)> {
    let stamp = stamp_of(path);
    if known == Some(stamp) {
        return None;
    }
    let unreadable = |why: String| {
        Standing::Unreadable(format!(
            "the local policy {} cannot be read, so nothing is changed: {why}",
            path.display()
        ))
    };
    let standing = match fs::read_to_string(path) {
        Ok(text) => match Policy::read(&text) {
            Ok(policy) => Standing::Holds(Arc::new(policy)),
            Err(error) => unreadable(error.to_string()),
        },
        Err(error) => unreadable(error.to_string()),
    };
    Some((stamp, standing))
}

impl crate::questions::Policy for Gate {
    fn allowed(&self, kind: &str, asker: &Asker) -> Result<(), String> {
        self.may_ask(kind, asker.role.name())
    }
}

fn stamp_of(path: &Path) -> Stamp {
    fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok()
}

/// A file that cannot be read pauses: somebody put it there.
fn read_pause(path: &Path) -> Option<Pause> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let (value, reason) = text.split_once('\n').unwrap_or((&text, ""));
            Pause::read(value, reason)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Pause { until_ms: None, reason: format!("{}: {error}", path.display()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Inventory;
    use crate::target::memory::MemoryTarget;

    #[tokio::test]
    async fn nothing_is_changed_until_it_was_seen_whether_changes_are_paused() {
        let target = MemoryTarget::new("t");
        let dir = tempfile::tempdir().expect("a directory");
        let state = Arc::new(State::open(dir.path()).await.expect("free"));
        let clock: Clock = Arc::new(|| 1);
        let gate = Gate::new(None, None, clock, watch::Sender::new(None), (state, Removals::default()));
        let app: AppKey = "web".parse().expect("valid");
        let allowed = || {
            let steps = AppPlan { raise: vec![Step::Widen(Inventory::default())], ..AppPlan::default() };
            let mut plan = Plan { apps: BTreeMap::from([(app.clone(), steps)]), ..Plan::default() };
            gate.allow(&mut plan, &BTreeMap::new());
            plan.apps.remove(&app).expect("it has a plan")
        };
        target.set_unreachable(Some("too many requests"));
        gate.look(&target).await;
        let rests = allowed();
        let said: Vec<String> = rests.blocked.iter().map(ToString::to_string).collect();
        let [why] = said.as_slice() else { panic!("{said:?}") };
        assert!(why.contains("paused is not known yet: too many requests"), "{why}");
        assert!(rests.raise.is_empty());

        target.set_unreachable(None);
        assert!(gate.look(&target).await, "what rested is looked at again");
        assert_eq!(allowed().raise.len(), 1);
        // What was seen holds while nothing can be seen.
        target.set_unreachable(Some("too many requests"));
        gate.look(&target).await;
        assert_eq!(allowed().raise.len(), 1);
    }

    #[tokio::test]
    async fn a_restart_does_not_forget_what_was_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let policy = dir.path().join("policy.yaml");
        fs::write(&policy, "maxRemovals: 2\n").expect("written");
        let app: AppKey = "web".parse().expect("valid");
        let key = |name: &str| ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "d".into(),
            name: name.into(),
        };
        let place = dir.path().join("state");
        let start = async || {
            let state = Arc::new(State::open(&place).await.expect("free"));
            let removals = state.removals().await.expect("readable");
            let clock: Clock = Arc::new(|| 0);
            Gate::new(Some(policy.clone()), None, clock, watch::Sender::new(None), (state, removals))
        };
        let gate = start().await;
        gate.may_delete(&app, &[&key("a"), &key("b")]).await.expect("two may");
        gate.came_of(&app, &key("a"), Some(&Ok(Deleted::Gone)));
        drop(gate);
        let gate = start().await;
        gate.may_delete(&app, &[&key("b")]).await.expect("it was counted before");
        let reason = gate.may_delete(&app, &[&key("c")]).await.expect_err("no more");
        assert!(reason.contains("allows 2 an hour, of which 0 are left"), "{reason}");
    }
}
