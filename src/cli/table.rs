//! Columns of text, and sizes for people.

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1024.0 / 1024.0 / 1024.0),
    }
}

/// Columns as wide as they need to be; none that has nothing in any row, and nothing at all if there are no rows.
pub(super) fn table(lines: &mut Vec<String>, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |column: usize, title: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let widest = cells.max().unwrap_or(0);
        (widest > 0).then(|| widest.max(title.chars().count()))
    };
    let widths: Vec<_> = head.iter().enumerate().map(|(column, title)| width(column, title)).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::from(" ");
        for (cell, width) in cells.zip(&widths) {
            if let Some(width) = width {
                line.push_str(&format!(" {cell:width$} "));
            }
        }
        lines.push(line.trim_end().to_owned());
    };
    if !rows.is_empty() {
        line(&mut head.iter().copied());
    }
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
    }

    #[test]
    fn columns_line_up() {
        let mut lines = Vec::new();
        table(&mut lines, &["NAME", "N"], rows(&[&["a", "1"], &["größer", "22"]]).into_iter());
        assert_eq!(lines, ["  NAME    N", "  a       1", "  größer  22"]);
        table(&mut lines, &["NAME", "N"], std::iter::empty());
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_column_of_nothing_is_left_out() {
        let mut lines = Vec::new();
        let cells = rows(&[&["a", "", "x", ""], &["b", "", "", ""]]);
        table(&mut lines, &["NAME", "EMPTY", "SOME", "NONE"], cells.into_iter());
        assert_eq!(lines, ["  NAME  SOME", "  a     x", "  b"]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(7), size(1536), size(3 << 20), size(5 << 30)], ["7 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]);
    }
}
