//! Reading: files that lie in one of several places, nobody says in which.
//!
//! In: places, the ids of files. Out: their contents. Never: looks in all places for each file of many that lie together.

use std::sync::Arc;

use nave_placement::catalog::BlobId;

use super::revision::Content;

/// The content of files, each of the first of several places that has it: what has the id of a blob is that, wherever it lies. With the
/// first place's words where none has it. Files that are read together mostly lie together: who has one of them is asked for all.
pub async fn read_of(
    places: &[&dyn Content],
    blobs: &[BlobId],
    limit: u64,
) -> Vec<Result<Arc<[u8]>, String>> {
    if let [only] = places {
        return only.read_all(blobs.to_vec(), limit).await;
    }
    let mut texts: Vec<Result<Arc<[u8]>, String>> = vec![Err("it is nowhere".to_owned()); blobs.len()];
    let mut lacking: Vec<usize> = (0..blobs.len()).collect();
    while let Some((first, others)) = lacking.split_first() {
        let (first, mut others) = (*first, others.to_vec());
        let mut why = None;
        for place in places {
            match place.read_all(vec![blobs[first].clone()], limit).await.pop() {
                Some(Ok(text)) => {
                    texts[first] = Ok(text);
                    let asked = others.iter().map(|at| blobs[*at].clone()).collect();
                    let mut left = Vec::new();
                    for (at, text) in others.into_iter().zip(place.read_all(asked, limit).await) {
                        match text {
                            Ok(text) => texts[at] = Ok(text),
                            Err(_) => left.push(at),
                        }
                    }
                    others = left;
                    why = None;
                    break;
                }
                Some(Err(error)) => _ = why.get_or_insert(error),
                None => {}
            }
        }
        if let Some(why) = why {
            texts[first] = Err(why);
        }
        lacking = others;
    }
    texts
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;

    /// A place that has files whose ids begin so.
    struct Place(&'static str, Arc<AtomicUsize>);

    #[async_trait]
    impl Content for Place {
        async fn read_all(&self, blobs: Vec<BlobId>, _: u64) -> Vec<Result<Arc<[u8]>, String>> {
            self.1.fetch_add(blobs.len(), Ordering::Relaxed);
            let read = |blob: BlobId| match blob.0.starts_with(self.0) {
                true => Ok(blob.0.as_bytes().into()),
                false => Err(format!("{} lacks it", self.0)),
            };
            blobs.into_iter().map(read).collect()
        }
    }

    #[tokio::test]
    async fn files_that_lie_together_are_looked_for_once() {
        let asked = Arc::<AtomicUsize>::default();
        let places: Vec<Place> =
            ["a"; 98].into_iter().chain(["b", "c"]).map(|of| Place(of, asked.clone())).collect();
        let places: Vec<&dyn Content> = places.iter().map(|place| place as _).collect();
        let together = |of: &str| (0..50).map(|n| BlobId(format!("{of}{n}").into())).collect::<Vec<_>>();
        let blobs = [together("c"), together("b"), vec![BlobId("x".into())], together("a")].concat();
        let texts = read_of(&places, &blobs, 1).await;
        for (blob, text) in blobs.iter().zip(&texts) {
            match &*blob.0 {
                "x" => assert_eq!(text.as_ref().expect_err("nobody has it"), "a lacks it"),
                known => assert_eq!(text.as_ref().map(|text| &**text), Ok(known.as_bytes())),
            }
        }
        // Each kind is looked for once, and then read with what is left.
        let (sweeps, batches) = (100 + 99 + 100 + 1, 150 + 100 + 49);
        assert_eq!(asked.load(Ordering::Relaxed), sweeps + batches);
        assert_eq!(read_of(&[], &blobs[..1], 1).await, [Err("it is nowhere".to_owned())]);
    }
}
