//! How answers are shown: kubectl-like tables, or the document as it came.

use clap::ValueEnum;
use serde::Serialize;

/// The formats of `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names, one a line.
    Name,
}

/// Shows a document: `table` and `names` say how people read it.
///
/// # Errors
/// When it cannot be written as YAML.
pub fn show<T: Serialize>(
    format: Format,
    document: &T,
    table: impl FnOnce(bool) -> String,
    names: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table(false),
        Format::Wide => table(true),
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
        Format::Yaml => serde_saphyr::to_string(document)?,
        Format::Name => names().into_iter().map(|name| name + "\n").collect(),
    };
    print!("{text}");
    Ok(())
}

/// A table: upper-case headers, columns two spaces apart, no borders. Line ends carry no spaces.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut headers.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A few names, and how many more.
pub fn few(names: &[impl ToString]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{}, +{more}", shown.join(", ")),
    }
}

/// One line of text: what is longer is cut where a person would not read on anyway.
pub fn one_line(text: &str) -> String {
    const LONGEST: usize = 120;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// A moment as RFC 3339, to the second.
pub fn moment(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or_default();
    jiff::Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_end_without_spaces() {
        let rows = [
            vec!["web".to_owned(), "Converged".to_owned()],
            vec!["metrics-server".to_owned(), String::new()],
        ];
        let expected = "APP             STATE\nweb             Converged\nmetrics-server\n";
        assert_eq!(table(&["APP", "STATE"], &rows), expected);
    }

    #[test]
    fn long_lists_and_lines_are_cut() {
        assert_eq!(few(&["a", "b", "c", "d", "e"]), "a, b, c, +2");
        assert_eq!(few(&["a"]), "a");
        assert_eq!(one_line("x\ny"), "x");
        assert_eq!(one_line(&"x".repeat(300)).chars().count(), 121);
    }
}
