//! What the state among Secrets survives: a crash between any two requests, chunks that are gone, a second spoke.

use std::sync::atomic::{AtomicUsize, Ordering};

use nave_placement::Digest;

use super::super::contract::check;
use super::super::{Files, State};
use super::owner::{Holder, holder as holds};
use super::shelf::Pod;
use super::*;

/// Secrets in memory, behind an API server that goes away after some writes.
#[derive(Default)]
struct Fake {
    items: Mutex<BTreeMap<String, (Item, u64)>>,
    writes: AtomicUsize,
    reads: AtomicUsize,
    dies_after: AtomicUsize,
    pods: Mutex<BTreeMap<String, Pod>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        let fake = Self::default();
        fake.dies_after.store(usize::MAX, Ordering::Relaxed);
        Arc::new(fake)
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, (Item, u64)>> {
        self.items.lock().expect("no test panics with it")
    }

    fn write(&self) -> Result<u64, ShelfError> {
        let before = self.writes.fetch_add(1, Ordering::Relaxed);
        if before >= self.dies_after.load(Ordering::Relaxed) {
            return Err(ShelfError::Unanswered("gone".to_owned()));
        }
        Ok(before as u64)
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    fn names(&self) -> Vec<String> {
        self.items().keys().cloned().collect()
    }
}

#[async_trait]
impl Shelf for Fake {
    fn place(&self, name: &str) -> String {
        format!("Secret {name}")
    }

    async fn get(&self, name: &str) -> Result<Option<Item>, ShelfError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.items().get(name).map(|(item, _)| item.clone()))
    }

    async fn put(&self, name: &str, item: &Item) -> Result<(), ShelfError> {
        let version = self.write()?;
        self.items().insert(name.to_owned(), (item.clone(), version));
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), ShelfError> {
        self.write()?;
        self.items().remove(name);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, String)>, ShelfError> {
        Ok(self.items().iter().map(|(name, (item, _))| (name.clone(), item.about.clone())).collect())
    }

    async fn get_at(&self, name: &str) -> Result<Option<(Item, String)>, ShelfError> {
        Ok(self.items().get(name).map(|(item, version)| (item.clone(), version.to_string())))
    }

    async fn put_at(&self, name: &str, item: &Item, version: Option<&str>) -> Result<(), ShelfError> {
        let is = self.items().get(name).map(|(_, version)| version.to_string());
        if is.as_deref() != version {
            return Err(ShelfError::Raced);
        }
        self.put(name, item).await
    }

    async fn pod(&self, name: &str) -> Result<Pod, ShelfError> {
        Ok(self.pods.lock().expect("no test panics with it").get(name).copied().unwrap_or(Pod::Ended))
    }

    async fn show(&self, _: &[u8]) -> Result<(), ShelfError> {
        self.write().map(drop)
    }
}

async fn secrets(fake: &Arc<Fake>) -> Secrets {
    Secrets::unowned(fake.clone(), None, 8).await.expect("opens")
}

#[tokio::test]
async fn files_and_secrets_keep_the_same_promises() {
    let dir = tempfile::tempdir().expect("a directory");
    check(&Files::open(dir.path()).expect("opens"), 100).await;
    check(&secrets(&Fake::new()).await, 100).await;
}

#[tokio::test]
async fn a_crash_between_any_two_writes_leaves_the_old_record_or_the_new_one() {
    let contents: [Vec<u8>; 3] = [(0..30).collect(), (0..31).collect(), vec![7]];
    for (old, new) in [(0, 1), (1, 0), (0, 2), (2, 0), (2, 1)] {
        let (old, new) = (&contents[old], &contents[new]);
        let mut survived = BTreeSet::new();
        for dies_after in 0.. {
            let fake = Fake::new();
            secrets(&fake).await.write("assignment", old).await.expect("written");
            let before = fake.writes();
            fake.dies_after.store(before + dies_after, Ordering::Relaxed);
            let written = secrets(&fake).await.write("assignment", new).await;
            fake.dies_after.store(usize::MAX, Ordering::Relaxed);

            let after = secrets(&fake).await;
            let found = after.read("assignment").await.expect("readable");
            let whole = [Found::Whole(old.clone()), Found::Whole(new.clone())];
            assert!(whole.contains(&found), "died after {dies_after}: {found:?}");
            if written.is_ok() {
                assert_eq!(found, whole[1], "what was acknowledged is there");
            }
            survived.insert(found == whole[1]);
            // Nothing is left over once it was opened again.
            let chunks = if found == whole[1] { new.len() } else { old.len() };
            let expected = if chunks <= 8 { 1 } else { 1 + chunks.div_ceil(8) };
            assert_eq!(fake.names().len(), expected, "{:?}", fake.names());
            if fake.writes() < before + dies_after {
                break;
            }
        }
        assert_eq!(survived.len(), 2, "both ends were seen");
    }
}

#[tokio::test]
async fn a_chunk_that_is_gone_or_changed_is_damage_and_what_is_written_next_is_whole() {
    let content: Vec<u8> = (0..30).collect();
    for change in [true, false] {
        let fake = Fake::new();
        let keep = secrets(&fake).await;
        keep.write("assignment", &content).await.expect("written");
        let chunk = fake.names().into_iter().find(|name| name.contains(".chunk-")).expect("there are chunks");
        if change {
            fake.items().get_mut(&chunk).expect("there").0.content[0] ^= 1;
        } else {
            fake.items().remove(&chunk);
        }
        assert_eq!(keep.read("assignment").await.expect("readable"), Found::Damaged);
        keep.write("assignment", &content).await.expect("written");
        assert_eq!(keep.read("assignment").await.expect("readable"), Found::Whole(content.clone()));
    }
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let fake = Fake::new();
    let state = State::within(Arc::new(secrets(&fake).await)).await.expect("opens");
    let zstd = zstd::encode_all(&b"{}"[..], 0).expect("in memory");
    let digest = Digest::of(b"{}");
    state.store_bundle(&digest, &zstd).await.expect("stored");
    state.store_hub_time(1_000).await.expect("stored");
    let (writes, reads) = (fake.writes(), fake.reads.load(Ordering::Relaxed));
    for _ in 0..3 {
        state.store_bundle(&digest, &zstd).await.expect("stored");
        state.store_hub_time(60_000).await.expect("stored");
        assert_eq!(state.bundle(&digest).await.expect("readable").as_deref(), Some(&b"{}"[..]));
    }
    assert_eq!((fake.writes(), fake.reads.load(Ordering::Relaxed)), (writes, reads));
    state.store_hub_time(1_000 + 3_600_000).await.expect("stored");
    assert_eq!(fake.writes(), writes + 1, "once an hour");
}

#[tokio::test]
async fn a_second_spoke_is_told_who_has_the_state_unless_that_one_is_gone() {
    let fake = Fake::new();
    let holder = |pod: &str| Holder { pod: pod.to_owned(), ..Holder::this_process(Some(pod.to_owned())) };
    let pod = |name: &str, is: Pod| {
        fake.pods.lock().expect("free").insert(name.to_owned(), is);
    };
    pod("nave-spoke-1", Pod::Runs);
    pod("nave-spoke-2", Pod::Runs);
    let first = Secrets::open(fake.clone(), holder("nave-spoke-1")).await.expect("the first");
    let refused = Secrets::open(fake.clone(), holder("nave-spoke-2")).await.map(drop);
    let refused = refused.expect_err("the first lives").to_string();
    assert!(refused.contains("in use by another spoke, pod nave-spoke-1"), "{refused}");
    first.still_held().await.expect("still the first's");

    // Told to end, it may still be at work.
    pod("nave-spoke-1", Pod::Ends);
    Secrets::open(fake.clone(), holder("nave-spoke-2")).await.map(drop).expect_err("the first may live");
    let (seen, how) = holds(&*fake).await.expect("readable").expect("somebody");
    assert_eq!((seen.pod.as_str(), how), ("nave-spoke-1", Some(Pod::Ends)));

    pod("nave-spoke-1", Pod::Ended);
    let second = Secrets::open(fake.clone(), holder("nave-spoke-2")).await.expect("the first is gone");
    second.write("boot", b"1").await.expect("written");
    assert!(matches!(first.still_held().await, Err(StateError::InUse(_))), "the first learns of it");
    // The same pod again, after its container was killed.
    Secrets::open(fake.clone(), holder("nave-spoke-2")).await.map(drop).expect("it is the same pod");
}

#[tokio::test]
async fn a_process_of_this_machine_that_lives_keeps_the_state_and_a_dead_one_does_not() {
    let fake = Fake::new();
    // The parent of this process lives for as long as it does.
    let parent = std::os::unix::process::parent_id();
    let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).expect("a parent");
    let started =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).expect("its start");
    let this = Holder::this_process(None);
    let living = Holder { id: "other".into(), pid: parent, started: started.to_owned(), ..this.clone() };
    Secrets::open(fake.clone(), living.clone()).await.map(drop).expect("nobody has it");
    let refused =
        Secrets::open(fake.clone(), this.clone()).await.map(drop).expect_err("it lives").to_string();
    assert!(refused.contains(&format!("process {parent} on ")), "{refused}");

    let fake = Fake::new();
    let dead = Holder { started: "1".into(), ..living };
    Secrets::open(fake.clone(), dead).await.map(drop).expect("nobody has it");
    Secrets::open(fake, this).await.map(drop).expect("another process has that number now");
}
