//! Paths in a repository: relative to the file they stand in, never out of it.

/// Why a path cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("the path is empty; write . for the directory of this file")]
    Empty,
    #[error("{0:?} is absolute; write it relative to the directory of this file")]
    Absolute(String),
    #[error("{0:?} holds a backslash; separate directories by /")]
    Backslash(String),
    #[error("{0:?} leaves the repository; name a path inside it")]
    Leaves(String),
}

/// The directory part of a path; empty for the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether a path is `directory` or below it.
pub(crate) fn is_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory);
    directory.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every directory that a path lies in, the nearest first, the root last.
pub(crate) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path).filter(|p| !p.is_empty()), |p| Some(parent(p)).filter(|_| !p.is_empty()))
        .skip(1)
}

/// The path that `relative` means in `file`, from the repository's root, without `.` and `..`.
pub(crate) fn resolve(file: &str, relative: &str) -> Result<String, PathError> {
    let given = || relative.to_owned();
    if relative.trim().is_empty() {
        return Err(PathError::Empty);
    }
    if relative.contains('\\') {
        return Err(PathError::Backslash(given()));
    }
    if relative.starts_with('/') {
        return Err(PathError::Absolute(given()));
    }
    let mut parts: Vec<&str> = parent(file).split('/').filter(|p| !p.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| PathError::Leaves(given()))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_their_file_and_stay_in_the_repository() {
        // (file, path, resolved)
        let rows = [
            ("apps/web.yaml", "./manifests", Ok("apps/manifests")),
            ("apps/web.yaml", "../shared/", Ok("shared")),
            ("apps/web.yaml", ".", Ok("apps")),
            ("web.yaml", ".", Ok("")),
            ("apps/web.yaml", "a//b/../c", Ok("apps/a/c")),
            ("apps/web.yaml", "../..", Err(PathError::Leaves("../..".into()))),
            ("apps/web.yaml", "../../x", Err(PathError::Leaves("../../x".into()))),
            ("web.yaml", "/etc", Err(PathError::Absolute("/etc".into()))),
            ("web.yaml", "a\\b", Err(PathError::Backslash("a\\b".into()))),
            ("web.yaml", "", Err(PathError::Empty)),
        ];
        for (file, path, expected) in rows {
            assert_eq!(resolve(file, path), expected.map(str::to_owned), "{path} in {file}");
        }
    }

    #[test]
    fn ancestors_end_with_the_root() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a", ""]);
        assert_eq!(ancestors("a").collect::<Vec<_>>(), [""]);
        assert!(is_below("a/b", "a") && is_below("a", "a") && is_below("a", "") && !is_below("ab", "a"));
    }
}
