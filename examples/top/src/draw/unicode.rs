//! Texts of a given width on the screen, where a character may take two columns, or none.

use ratatui::text::Span;

pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Returns what fits, with a sign at its end if something is missing.
pub(super) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }

    let mut cut = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += width(c.encode_utf8(&mut [0; 4]));
        if taken >= room {
            break;
        }
        cut.push(c);
    }

    if room > 0 {
        cut.push('…');
    }
    cut
}

/// Returns a cell of a table: one space at least is left to the next.
pub(super) fn padded(text: &str, room: usize) -> String {
    let mut cell = cut(text, room.saturating_sub(1));
    let missing = room - width(&cell);
    cell.extend(std::iter::repeat_n(' ', missing));
    cell
}
