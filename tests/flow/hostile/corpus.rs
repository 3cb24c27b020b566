//! corpus: one row for each advisory. In: nothing. Out: rows that say what it was, how it is done again and what has to come of it.
//! Never: names an advisory that was not published (where there is none, the document is named that says what to beware of); does anything itself.

mod elsewhere;
mod files;
mod git;
mod helm;
mod leading;
mod packs;
mod tokens;

/// How an advisory is done again.
pub enum Hostile {
    /// What stands behind an app's `source: `, and files below `apps/APP/`; what begins with `-> ` is a symbolic link.
    Files(&'static str, &'static [(&'static str, &'static str)]),
    /// A tree of another repository, of the app and of what lies outside. The app's manifests are below `m`.
    Tree(fn(&super::objects::Raw, &str, &str) -> String),
    /// The archive of a chart, as a tar.
    Archive(fn(&str) -> Vec<u8>),
    /// The index of a repository whose charts mean no harm.
    Index(&'static str),
    /// Where a repository's index is said to be.
    Redirect(&'static str),
    /// An index without end.
    Endless,
    /// Where a Git repository is said to be; or references without end.
    GitAnswers(Option<&'static str>),
    /// A repository of Git that a server makes up.
    Pack(fn(&str) -> super::packs::Repository),
    /// By which status, and where to, a Git server leads whoever shows it a password.
    Leads(u16, &'static str),
    /// The same, once it has told of its references.
    LeadsLate(u16, &'static str),
    /// How a registry says that it wants a token, and what is where its own tokens are.
    Challenge(&'static str, Token),
}

/// What is answered who asks for a token at `{charts}/{app}/token`.
pub enum Token {
    /// Nothing is there.
    Nowhere,
    /// This.
    Says(&'static str),
    /// That it is elsewhere.
    Leads(&'static str),
    /// Zeros, without end.
    Endless,
}

/// What has to come of it.
pub enum Outcome {
    /// A problem of the app says so, and nothing of the app is on a cluster.
    Told(&'static str),
    /// The app is what it would be without what is hostile in it.
    Harmless,
}

/// An advisory, done again.
pub struct Row {
    /// The app that does it.
    pub app: &'static str,
    /// Its number, and what it was of.
    pub advisory: &'static str,
    /// What it was.
    pub was: &'static str,
    pub hostile: Hostile,
    pub outcome: Outcome,
}

/// All rows.
pub fn corpus() -> Vec<Row> {
    let all = [
        git::rows(),
        packs::rows(),
        leading::rows(),
        helm::rows(),
        files::kustomize(),
        files::yaml(),
        elsewhere::rows(),
        tokens::rows(),
    ];
    all.into_iter().flatten().collect()
}

fn row(
    app: &'static str,
    advisory: &'static str,
    was: &'static str,
    hostile: Hostile,
    outcome: Outcome,
) -> Row {
    Row { app, advisory, was, hostile, outcome }
}
