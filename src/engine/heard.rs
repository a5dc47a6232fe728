//! Rows that other tabs appended and sent along: they need not be read, which would hold up the next write of those tabs.

use std::collections::VecDeque;

use super::row::{Row, TabId};

/// A row of no more bytes goes along with the announcement of it: 64 KiB.
pub(crate) const MOST_SENT_ALONG: usize = 64 << 10;
/// Where so many rows wait, they are read.
const MOST_HEARD: usize = 64;

/// A row that another tab appended.
#[derive(Debug)]
pub(crate) struct HeardRow {
    pub(crate) key: u64,
    /// Who appended the one before it, and the how-manieth of theirs that was.
    pub(crate) after: Option<(TabId, u64)>,
    pub(crate) bytes: Vec<u8>,
}

/// Those that wait to be folded.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    rows: Vec<HeardRow>,
}

impl Heard {
    /// Another tab has appended a row. Gives whether it has to be read.
    pub(crate) fn hear(&mut self, row: HeardRow) -> bool {
        // Of the first row of a log nothing tells in which database it is: there may be another one by now.
        let is_to_be_read = row.bytes.is_empty() || row.after.is_none() || self.rows.len() >= MOST_HEARD;
        if is_to_be_read {
            self.rows.clear();
        } else {
            self.rows.push(row);
        }
        is_to_be_read
    }

    /// Forgets them. Gives whether there were any.
    pub(crate) fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.rows).is_empty()
    }

    /// Takes out those that follow the row `folded`, which `last` appended: a row of another database, which has taken the place of this one,
    /// may have the next key. Gives whether others were heard, so that there is something to read.
    pub(crate) fn take(
        &mut self,
        folded: u64,
        mut last: Option<(TabId, u64)>,
    ) -> (VecDeque<(u64, Vec<u8>)>, bool) {
        let mut rows = VecDeque::new();
        let mut heard = std::mem::take(&mut self.rows);
        let mut next = folded + 1;
        while let Some(place) = heard.iter().position(|row| row.key == next && row.after == last) {
            let HeardRow { key, bytes, .. } = heard.swap_remove(place);
            // What cannot be read here may be readable in the store.
            let Ok(row) = Row::decode(&bytes) else { return (rows, true) };
            last = Some((row.tab, row.number));
            rows.push_back((key, bytes));
            next += 1;
        }
        (rows, heard.iter().any(|row| row.key >= next))
    }
}
