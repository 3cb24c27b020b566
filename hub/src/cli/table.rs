//! Tables as kubectl prints them: upper-case headers, two spaces between columns, no borders.
//!
//! In: headers and rows of text. Out: lines without trailing spaces.
//! Never: breaks a row over two lines.

use std::fmt;

/// A table; the last column may be as long as it likes.
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// Text, and how it is painted on a terminal.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

/// The few colours that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Bad.
    Red,
    /// Waits, or is under way.
    Yellow,
    /// Good.
    Green,
}

impl Colour {
    fn code(self) -> u8 {
        match self {
            Self::Red => 31,
            Self::Yellow => 33,
            Self::Green => 32,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: one_line(&text.into()), colour: None }
    }
}

impl Cell {
    /// A line whose spaces mean something.
    pub fn verbatim(line: &str) -> Self {
        Self { text: line.chars().filter(|c| !c.is_control()).collect(), colour: None }
    }

    /// Painted, where `colour` says so.
    #[must_use]
    pub fn paint(self, colour: Option<Colour>) -> Self {
        Self { colour, ..self }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.colour {
            Some(colour) => write!(f, "\x1b[{}m{}\x1b[0m", colour.code(), self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// One line of what may be several; control characters do not reach the terminal.
pub fn one_line(text: &str) -> String {
    let plain = text.trim().replace(['\n', '\r', '\t'], " ");
    plain.chars().filter(|c| !c.is_control()).collect()
}

impl Table {
    /// A table with these headers.
    pub fn new<const N: usize>(headers: [&str; N]) -> Self {
        Self { rows: vec![headers.map(Cell::from).into()] }
    }

    /// A table whose headers were not known before.
    pub fn of(headers: Vec<Cell>) -> Self {
        Self { rows: vec![headers] }
    }

    /// Adds a row to such a table.
    pub fn row_of(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Adds a row; it has as many cells as there are headers.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut pending = 0;
            for (cell, width) in row.iter().zip(&widths) {
                let length = cell.text.chars().count();
                if length > 0 {
                    write!(f, "{:pending$}{cell}", "")?;
                    pending = 0;
                }
                pending += width - length + 2;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_text() {
        let mut table = Table::new(["NAME", "STATE", "MESSAGE"]);
        table.row(["a".into(), "Converged".into(), "".into()]);
        table.row(["größer".into(), "".into(), "two\nlines\x1b[31m".into()]);
        let expected = "\
NAME    STATE      MESSAGE
a       Converged
größer             two lines[31m
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let mut table = Table::new(["A", "B"]);
        table.row([Cell::from("x").paint(Some(Colour::Red)), "y".into()]);
        table.row(["xx".into(), "z".into()]);
        assert_eq!(table.to_string(), "A   B\n\x1b[31mx\x1b[0m   y\nxx  z\n");
    }
}
