//! Helm: charts of a Helm repository, a web server with `index.yaml`.
//!
//! In: a chart. Out: the archive of the version that is meant, as the index has it. Never: takes an
//! archive in clear text whose index came encrypted; brings an index again that a server says is still the same.

use nave_placement::catalog::{ChartName, suggest};
use reqwest::header::{ETAG, HeaderValue};
use reqwest::{StatusCode, Url};

use super::asking::{self, Answer, Asking, Question};
use super::error::{ChartError, shown};
use super::index::{self, Entry, Found};
use super::kept::Kept;
use super::marks::Marks;
use super::{At, MOST_BYTES, Offer, oci};

/// Most bytes of an index: those of the largest public ones are half of it.
const MOST_INDEX: u64 = 64 << 20;

/// What the repository has of a chart.
pub(super) async fn offer<'a>(
    asking: &Asking<'a>,
    here: (&Kept, &Marks),
    chart: &ChartName,
) -> Result<Offer<'a>, ChartError> {
    let base = base(chart)?;
    let url = base.join("index.yaml").map_err(|_| unparsable(&base, "it cannot be asked for an index"))?;
    let text = index(asking, here, &url).await?;
    let wrong = |why| ChartError::Unreadable { url: shown(&url), why };
    let name = chart.chart.clone();
    // Of many megabytes: that takes a while.
    let found = tokio::task::spawn_blocking(move || index::read(&text, &name)).await;
    let found = found.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map_err(wrong)?;
    let entry = meant(chart, found)?;
    let digest = entry.digest().map_err(wrong)?;
    let version = entry.version.clone();
    let first = entry.urls.first().ok_or_else(|| wrong(format!("version {version} has no URL")))?;
    if first.starts_with("oci://") {
        return oci::linked(asking, chart, first, version).await;
    }
    let archive =
        base.join(first).map_err(|_| wrong(format!("{first:?}, of version {version}, is no URL")))?;
    if base.scheme() == "https" && archive.scheme() != "https" {
        let why = "its index came by https://, and names it by what is not encrypted";
        return Err(ChartError::Forbidden { url: shown(&archive), why });
    }
    Ok(Offer { version, digest, at: At::File(archive) })
}

/// The index as it is now; the one that is here where the server says that it still is that.
async fn index(
    asking: &Asking<'_>,
    (kept, marks): (&Kept, &Marks),
    url: &Url,
) -> Result<Vec<u8>, ChartError> {
    if let Some((mark, digest)) = marks.of(url)
        && let Some(text) = kept.get(&digest).await?
    {
        let answer = get(asking, url.clone(), MOST_INDEX, Some(mark)).await?;
        return match answer.status {
            StatusCode::NOT_MODIFIED => Ok(text),
            _ => marked((kept, marks), url, answer.whole()?).await,
        };
    }
    let answer = get(asking, url.clone(), MOST_INDEX, None).await?.whole()?;
    marked((kept, marks), url, answer).await
}

/// An index that came; it is kept where its server marks it.
async fn marked((kept, marks): (&Kept, &Marks), url: &Url, answer: Answer) -> Result<Vec<u8>, ChartError> {
    let Some(mark) = answer.headers.get(ETAG) else {
        marks.set(url.clone(), None);
        return Ok(answer.body);
    };
    let digest = kept.put(answer.body.clone()).await?;
    marks.set(url.clone(), Some((mark.clone(), digest)));
    Ok(answer.body)
}

/// An archive.
pub(super) async fn archive(asking: &Asking<'_>, url: &Url) -> Result<Vec<u8>, ChartError> {
    Ok(get(asking, url.clone(), MOST_BYTES, None).await?.whole()?.body)
}

/// The repository's own URL, as that of a directory.
fn base(chart: &ChartName) -> Result<Url, ChartError> {
    let text = format!("{}/", chart.repository.trim_end_matches('/'));
    let bad = nave_placement::catalog::BadChartName::Repository(chart.repository.clone());
    text.parse().map_err(|_| bad.into())
}

fn unparsable(url: &Url, why: &'static str) -> ChartError {
    ChartError::Forbidden { url: shown(url), why }
}

async fn get(
    asking: &Asking<'_>,
    url: Url,
    most: u64,
    mark: Option<HeaderValue>,
) -> Result<Answer, ChartError> {
    let access = asking.access(url.as_str());
    let authorization = asking::basic(access).await?;
    asking.get(Question { url, access, authorization, mark, accept: "*/*", most }).await
}

/// The version that is meant.
fn meant(chart: &ChartName, found: Found) -> Result<Entry, ChartError> {
    let Found { entries, others } = found;
    let entries = entries.ok_or_else(|| ChartError::NoChart {
        repository: chart.repository.to_string(),
        chart: chart.chart.to_string(),
        hint: suggest::did_you_mean(&chart.chart, others.iter().map(|name| &**name)),
    })?;
    let versions: Vec<String> = entries.iter().map(|entry| entry.version.clone()).collect();
    let version = super::meant(chart, &versions)?;
    let entry = entries.into_iter().find(|entry| entry.version == version);
    entry.ok_or_else(|| ChartError::no_version(chart, Vec::new()))
}
