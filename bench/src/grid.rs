//! Aligned columns of figures in plain text.

use std::fmt::Write as _;

/// A figure and its range, which may be empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) figure: String,
    pub(crate) range: String,
}

/// A name and its figures.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
}

/// How wide a column is.
#[derive(Debug, Clone, Copy)]
struct Width {
    figure: usize,
    range: usize,
}

const GAP: usize = 2;

impl Width {
    fn of(head: &str, cells: &[&Cell]) -> Self {
        let most =
            |of: fn(&Cell) -> &String| cells.iter().map(|cell| width(of(cell))).max().unwrap_or_default();
        Self { figure: most(|cell| &cell.figure).max(width(head)), range: most(|cell| &cell.range) }
    }

    /// With the range behind the figure, or below it.
    fn total(self, beside: bool) -> usize {
        match (self.range, beside) {
            (0, _) => GAP + self.figure,
            (range, true) => GAP + self.figure + 1 + range,
            (range, false) => GAP + self.figure.max(range),
        }
    }
}

/// Rows below a title and a head. Ranges stand behind their figures where that fits, else below them; columns
/// that do not fit either come in a block of their own.
pub(crate) fn grid(title: &str, heads: &[String], rows: &[Row], columns: usize) -> String {
    let widths: Vec<_> = (0..heads.len())
        .map(|i| Width::of(&heads[i], &rows.iter().map(|row| &row.cells[i]).collect::<Vec<_>>()))
        .collect();
    let names = rows.iter().map(|row| GAP + width(&row.name)).chain([width(title)]).max().unwrap_or_default();
    let beside = names + widths.iter().map(|width| width.total(true)).sum::<usize>() <= columns;
    let mut text = String::new();
    let mut from = 0;
    while from < heads.len() {
        if from > 0 {
            text.push('\n');
        }
        let mut to = from;
        let mut taken = names;
        while to < heads.len() && (to == from || taken + widths[to].total(beside) <= columns) {
            taken += widths[to].total(beside);
            to += 1;
        }
        let head = heads[from..to].iter().map(|head| Cell { figure: head.clone(), range: String::new() });
        line(&mut text, title, names, &head.collect::<Vec<_>>(), &widths[from..to], beside);
        for row in rows {
            let (name, cells) = (format!("{:GAP$}{}", "", row.name), &row.cells[from..to]);
            line(&mut text, &name, names, cells, &widths[from..to], beside);
            if !beside && cells.iter().any(|cell| !cell.range.is_empty()) {
                let below: Vec<_> = cells
                    .iter()
                    .map(|cell| Cell { figure: cell.range.clone(), range: String::new() })
                    .collect();
                line(&mut text, "", names, &below, &widths[from..to], beside);
            }
        }
        from = to;
    }
    text
}

fn line(text: &mut String, name: &str, names: usize, cells: &[Cell], widths: &[Width], beside: bool) {
    let mut line = format!("{name}{:1$}", "", names.saturating_sub(width(name)));
    for (cell, of) in cells.iter().zip(widths) {
        let figure = if beside { of.figure } else { of.total(false) - GAP };
        let _ = write!(line, "{:GAP$}{:>figure$}", "", cell.figure);
        if beside && of.range > 0 {
            let _ = write!(line, " {:<1$}", cell.range, of.range);
        }
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Text without characters that move a terminal's cursor or change its colours.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// A paragraph in lines of at most so many columns, those behind the first moved in.
pub(crate) fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut taken = 0;
    for word in plain(text).split_whitespace() {
        if taken > 0 && taken + 1 + width(word) > columns {
            let _ = write!(lines, "\n{:indent$}", "");
            taken = indent;
        } else if taken > 0 {
            lines.push(' ');
            taken += 1;
        }
        lines.push_str(word);
        taken += width(word);
    }
    lines.push('\n');
    lines
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let cell = |figure: &str, range: &str| Cell { figure: figure.to_owned(), range: range.to_owned() };
        vec![
            Row { name: "one".to_owned(), cells: vec![cell("1.5 ms", "1.4–1.6"), cell("7", "")] },
            Row { name: "another".to_owned(), cells: vec![cell("12 ms", "9–15"), Cell::default()] },
        ]
    }

    fn heads() -> Vec<String> {
        vec!["p50".to_owned(), "count".to_owned()]
    }

    #[test]
    fn ranges_stand_behind_where_that_fits() {
        let expected =
            "ack           p50          count\n  one      1.5 ms 1.4–1.6      7\n  another   12 ms 9–15\n";
        assert_eq!(grid("ack", &heads(), &rows(), 32), expected);
    }

    #[test]
    fn ranges_stand_below_where_it_is_narrow() {
        let expected = "ack            p50  count\n  one       1.5 ms      7\n           1.4–1.6\n  another    12 ms\n              9–15\n";
        assert_eq!(grid("ack", &heads(), &rows(), 31), expected);
    }

    #[test]
    fn columns_that_do_not_fit_come_in_their_own_block() {
        let expected = "ack            p50\n  one       1.5 ms\n           1.4–1.6\n  another    12 ms\n              9–15\n\n\
                        ack        count\n  one          7\n  another\n";
        assert_eq!(grid("ack", &heads(), &rows(), 20), expected);
    }

    #[test]
    fn a_paragraph_is_wrapped_and_plain() {
        assert_eq!(wrapped("one two three\u{1b}[1m four", 9, 2), "one two\n  three[1m\n  four\n");
    }
}
