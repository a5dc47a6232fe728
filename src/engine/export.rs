//! The whole database as text, in portions: as it was when the export began, whatever is written meanwhile.

use objectql_sync_protocol::{Fields, ObjectName, ObjectText, array_text};

use super::Engine;
use crate::error::Error;

/// A portion ends with the record that makes it as long as this: 256 KiB of JSON text.
const PORTION_BYTES: usize = 256 << 10;

/// What is still to be handed over.
#[derive(Debug)]
pub(crate) struct Export {
    number: u32,
    /// The last object and the last record come first.
    rest: Vec<(ObjectName, Vec<Fields>)>,
}

impl Engine {
    /// Begins an export; gives its number.
    ///
    /// # Errors
    /// `NOT_LOADED`
    pub fn begin_export(&mut self) -> Result<u32, Error> {
        for definition in &self.config.objects {
            self.readable(definition.name.as_str())?;
        }
        self.last_export += 1;
        let objects = self.config.objects.iter().rev().map(|definition| &definition.name);
        let rest = objects.map(|object| (object.clone(), self.collections.all(object)));
        let export = Export { number: self.last_export, rest: rest.collect() };
        self.exports.push(export);
        Ok(self.last_export)
    }

    /// The next portion of an export, as JSON: `{ object, records }`; none when there is no more, or it was ended.
    pub fn next_export(&mut self, number: u32) -> Option<String> {
        let export = self.exports.iter_mut().find(|export| export.number == number)?;
        while let Some((object, rest)) = export.rest.last_mut() {
            let mut records = Vec::new();
            let mut bytes = 0;
            while bytes < PORTION_BYTES
                && let Some(record) = rest.pop()
            {
                bytes += record.as_str().len();
                records.push(record.as_str().to_owned());
            }
            if !records.is_empty() {
                let records = array_text(records.into_iter());
                return Some(
                    ObjectText::default().text("object", object.as_str()).json("records", &records).finish(),
                );
            }
            export.rest.pop();
        }
        self.end_export(number);
        None
    }

    /// Forgets an export.
    pub fn end_export(&mut self, number: u32) {
        self.exports.retain(|export| export.number != number);
    }
}
