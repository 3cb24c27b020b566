//! Arguments that several commands take.
//!
//! In: text. Out: values, or a sentence that says what would be right.
//! Never: asks the hub.

use std::time::Duration;

use clap::Args;
use nave_placement::CatalogName;
use nave_placement::fleet::Effect;
use nave_proto::v1;

/// Reads `30s`, `5m`, `1h30m`, `250ms`, `2d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    nave_placement::duration(text).map_err(|error| error.to_string())
}

/// A [`duration`] that is longer than nothing.
pub fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|d| if d.is_zero() { Err("it must be longer than 0s".to_owned()) } else { Ok(d) })
}

/// Milliseconds, as the hub is told.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This one, Unix milliseconds.
    At(u64),
    /// So long ago.
    Ago(Duration),
}

impl Moment {
    /// Unix milliseconds, by the clock of this machine.
    pub fn millis(self) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ago) => {
                let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
                now.saturating_sub(millis(ago)).max(1)
            }
        }
    }
}

/// Reads `2026-11-20T03:00:00Z`, or `2h` for so long ago. A time without a fraction is the whole second: as tables print it, so that
/// what a line tells has happened at its time.
pub fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = duration(text.strip_suffix(" ago").unwrap_or(text)) {
        return Ok(Moment::Ago(ago));
    }
    let at = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let wrong = || format!("{text:?} is no time; write 2026-11-20T03:00:00Z, or 2h for two hours ago");
    let rest = if text.contains('.') { 0 } else { 999 };
    at.filter(|ms| *ms > 0).map(|ms| Moment::At(ms + rest)).ok_or_else(wrong)
}

/// `[NAME=]URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogSource {
    /// The catalog's name.
    pub name: CatalogName,
    /// Its repository.
    pub url: String,
}

/// Reads `[NAME=]URL`. What stands before the first '=' is a name only where it can be one, since URLs and paths may hold a
/// '=' too.
pub fn catalog(text: &str) -> Result<CatalogSource, String> {
    let named = text.split_once('=').and_then(|(name, url)| Some((name.parse::<CatalogName>().ok()?, url)));
    let (name, url) = match named {
        Some((name, url)) => (name, url),
        None => (CatalogName::root(), text),
    };
    if url.is_empty() {
        return Err("the URL is missing: write NAME=URL, or the URL alone".to_owned());
    }
    Ok(CatalogSource { name, url: url.to_owned() })
}

/// Reads `KEY=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no label; write KEY=VALUE")),
    }
}

/// What happens to a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelChange {
    /// It gets this value.
    Set(String, String),
    /// It is taken away.
    Remove(String),
}

/// Reads `KEY=VALUE` or `KEY-`, as `kubectl label` does.
pub fn label_change(text: &str) -> Result<LabelChange, String> {
    if let Some(key) = text.strip_suffix('-').filter(|key| !key.is_empty() && !key.contains('=')) {
        return Ok(LabelChange::Remove(key.to_owned()));
    }
    let wrong = |_| format!("{text:?} is no change of a label; write KEY=VALUE to set it, KEY- to remove it");
    label(text).map(|(key, value)| LabelChange::Set(key, value)).map_err(wrong)
}

/// What happens to a taint.
#[derive(Clone, Debug, PartialEq)]
pub enum TaintChange {
    /// It is put on.
    Add(v1::Taint),
    /// It is taken away; without an effect, all of its key are.
    Remove(v1::Taint),
}

/// Reads `KEY=VALUE:EFFECT`, `KEY:EFFECT`, `KEY:EFFECT-` or `KEY-`, as `kubectl taint` does.
pub fn taint_change(text: &str) -> Result<TaintChange, String> {
    let wrong = || {
        format!(
            "{text:?} is no change of a taint; write KEY=VALUE:EFFECT or KEY:EFFECT to put it on, KEY:EFFECT- or KEY- to take it away"
        )
    };
    let (taint, removes) = text.strip_suffix('-').map_or((text, false), |taint| (taint, true));
    let (named, effect) = match taint.rsplit_once(':') {
        Some((named, effect)) => (named, effect),
        None if removes => (taint, ""),
        None => return Err(wrong()),
    };
    let (key, value) = named.split_once('=').map_or((named, None), |(key, value)| (key, Some(value)));
    if key.is_empty() || (effect.is_empty() && (taint != named || value.is_some())) {
        return Err(wrong());
    }
    if !effect.is_empty() {
        effect.parse::<Effect>()?;
    }
    let value = value.filter(|value| !value.is_empty()).map(str::to_owned);
    let taint = v1::Taint { key: key.to_owned(), value, effect: effect.to_owned() };
    Ok(if removes { TaintChange::Remove(taint) } else { TaintChange::Add(taint) })
}

/// Which entries of the fleet are meant; several terms narrow each other.
#[derive(Args, Clone, Debug, Default)]
pub struct Selecting {
    /// Only this app
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
    /// Only clusters with these labels, as kubectl selects: `env=prod,tier!=edge`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only this commit or one that descends from it will do; abbreviations are understood
    #[arg(long, value_name = "COMMIT")]
    pub commit: Option<String>,
}

impl Selecting {
    /// As the hub is asked.
    pub fn filter(&self, cluster: Option<&str>) -> v1::Filter {
        v1::Filter {
            app: self.app.clone().unwrap_or_default(),
            cluster: cluster.unwrap_or_default().to_owned(),
            selector: self.selector.clone().unwrap_or_default(),
            commit: self.commit.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_longer_than_nothing() {
        assert_eq!(["1s", "0s", "s"].map(|text| interval(text).is_ok()), [true, false, false]);
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        assert_eq!(moment("2h"), Ok(Moment::Ago(Duration::from_secs(7200))));
        assert_eq!(moment("2h ago"), Ok(Moment::Ago(Duration::from_secs(7200))));
        assert_eq!(moment("1970-01-01T00:00:02Z"), Ok(Moment::At(2_999)));
        assert_eq!(moment("1970-01-01T00:00:02.000Z"), Ok(Moment::At(2_000)));
        assert_eq!(moment("1970-01-01T01:00:02.5+01:00"), Ok(Moment::At(2_500)));
        for wrong in ["", "yesterday", "2026-11-20", "1970-01-01T00:00:00Z", "1960-01-01T00:00:00Z"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_catalog_has_a_name_only_where_one_is_given() {
        let rows = [
            ("https://h/r.git", "main", "https://h/r.git"),
            ("https://h/r?a=b", "main", "https://h/r?a=b"),
            ("team-a=https://h/r?a=b", "team-a", "https://h/r?a=b"),
            ("/srv/a=b", "main", "/srv/a=b"),
            ("./x=y", "main", "./x=y"),
            ("fleet=/srv/catalog", "fleet", "/srv/catalog"),
        ];
        for (text, name, url) in rows {
            let read = catalog(text).expect(text);
            assert_eq!((read.name.as_str(), read.url.as_str()), (name, url), "{text:?}");
        }
        assert!(catalog("fleet=").is_err());
        assert!(catalog("").is_err());
    }

    #[test]
    fn labels_are_set_and_removed_as_kubectl_does_it() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("=b").is_err());
        assert!(label("a").is_err());
        assert_eq!(label_change("tier-"), Ok(LabelChange::Remove("tier".into())));
        assert_eq!(label_change("tier=x-"), Ok(LabelChange::Set("tier".into(), "x-".into())));
        assert!(label_change("-").is_err());
    }

    #[test]
    fn taints_are_put_on_and_taken_away_as_kubectl_does_it() {
        let taint = |key: &str, value: Option<&str>, effect: &str| v1::Taint {
            key: key.into(),
            value: value.map(Into::into),
            effect: effect.into(),
        };
        let rows = [
            ("gpu=a100:NoSchedule", TaintChange::Add(taint("gpu", Some("a100"), "NoSchedule"))),
            ("gpu:NoExecute", TaintChange::Add(taint("gpu", None, "NoExecute"))),
            ("gpu=:PreferNoSchedule", TaintChange::Add(taint("gpu", None, "PreferNoSchedule"))),
            (
                "example.com/gpu:NoSchedule-",
                TaintChange::Remove(taint("example.com/gpu", None, "NoSchedule")),
            ),
            ("gpu=a:NoSchedule-", TaintChange::Remove(taint("gpu", Some("a"), "NoSchedule"))),
            ("gpu-", TaintChange::Remove(taint("gpu", None, ""))),
        ];
        for (text, expected) in rows {
            assert_eq!(taint_change(text), Ok(expected), "{text}");
        }
        for bad in
            ["gpu", "gpu=a", "gpu=a-", "gpu:", "gpu:-", ":NoSchedule", "=a:NoSchedule", "gpu:Never", "-", ""]
        {
            assert!(taint_change(bad).is_err(), "{bad}");
        }
    }
}
