//! `hub catalog check`: the hub's own reading of a catalog, on a directory.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use clap::Subcommand;
use nave_placement::CatalogName;
use nave_placement::catalog::{BlobId, CommitId, FileKind, LastGood, Problem, Tree, TreeEntry};

use super::Exit;
use super::output::{Format, show};
use crate::deciding::revision::{Content, Loader, Place, render};

/// `hub catalog`.
#[derive(Subcommand)]
pub enum Command {
    /// Read a catalog as the hub would, and say what is wrong with it
    Check {
        /// The repository's directory
        dir: PathBuf,
        /// The catalog's directory in it
        #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
        path: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let Self::Check { dir, path, output } = self;
        let (problems, summary) = check(&dir, &path).await?;
        let lines = |_| problems.iter().map(|p| format!("{p}\n")).collect::<String>();
        show(output, &problems, lines, || problems.iter().map(|p| p.file.to_string()).collect())?;
        eprintln!("{summary}");
        Ok(if problems.iter().any(Problem::is_error) { Exit::Failed } else { Exit::Done })
    }
}

/// The problems of a catalog in a directory, by position.
///
/// # Errors
/// When the directory cannot be read.
pub async fn check(dir: &Path, path: &str) -> anyhow::Result<(Vec<Problem>, String)> {
    if !dir.is_dir() {
        bail!("{} is no directory", dir.display());
    }
    let mut tree = Tree::new();
    walk(dir, String::new(), &mut tree)?;
    let content = Directory(dir.to_owned());
    let place = Place { name: CatalogName::root(), directory: path.trim_matches('/').to_owned() };
    let commit = CommitId("0000000000000000000000000000000000000000".into());
    let catalog = Loader::default().catalog(&content, &place, &commit, &tree, &LastGood::new()).await;
    let rendered = render(&content, &catalog, &tree, &BTreeMap::new(), &|_| true).await;
    let mut problems = catalog.problems.clone();
    problems.extend(rendered.problems);
    problems.sort();
    problems.dedup();
    let errors = problems.iter().filter(|p| p.is_error()).count();
    let summary = format!(
        "{} objects, {} apps rendered, {errors} errors, {} warnings",
        catalog.objects.len(),
        rendered.forms.len(),
        problems.len() - errors
    );
    if catalog.empty {
        bail!("there is no catalog document below {}; are --path and the directory right?", dir.display());
    }
    Ok((problems, summary))
}

/// The paths below a directory as Git would list them; links are not followed, `.git` is left out.
fn walk(dir: &Path, prefix: String, tree: &mut Tree) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if name != ".git" {
                walk(&entry.path(), path, tree)?;
            }
            continue;
        }
        let kind = if kind.is_symlink() { FileKind::Symlink } else { FileKind::File };
        let (path, size): (Arc<str>, u64) = (path.into(), entry.metadata()?.len());
        tree.insert(path.clone(), TreeEntry { kind, blob: BlobId(path), size });
    }
    Ok(())
}

/// A directory's files, named by their path.
struct Directory(PathBuf);

#[async_trait]
impl Content for Directory {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let read = |blob: &BlobId| {
            let file = std::fs::File::open(self.0.join(&*blob.0)).map_err(|e| e.to_string())?;
            let mut bytes = Vec::new();
            file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            match bytes.len() as u64 > limit {
                true => {
                    Err(format!("the file is larger than {limit} bytes; split it, or name it in .naveignore"))
                }
                false => Ok(bytes.into()),
            }
        };
        blobs.iter().map(read).collect()
    }
}
