//! The objects that the server knows: a folder of `<name>.object.yml` files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use objectql_sync_protocol::object::{FieldDefinition, IndexDefinition, Named};
use objectql_sync_protocol::{ObjectDefinition, ObjectName, ProtocolError, SyncConfig};
use serde::Deserialize;
use thiserror::Error;

const SUFFIX: &str = ".object.yml";

/// The definitions by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objects(BTreeMap<ObjectName, ObjectDefinition>);

/// Why the objects cannot be loaded.
#[derive(Debug, Error)]
pub enum ObjectsError {
    /// A file or the folder cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no object definition in YAML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// The line, from 1; 0 where there is no telling.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A definition contradicts itself.
    #[error("{}: {source}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: ProtocolError,
    },
    /// Two files define an object of the same name.
    #[error("{}: the object {name} is defined by another file, too", path.display())]
    Duplicate {
        /// The second file.
        path: PathBuf,
        /// The name.
        name: ObjectName,
    },
}

/// What a file holds: a definition whose name may be left to the file's name.
#[derive(Deserialize)]
struct File {
    name: Option<ObjectName>,
    label: Option<String>,
    #[serde(default)]
    fields: Named<FieldDefinition>,
    #[serde(default)]
    indexes: Named<IndexDefinition>,
    #[serde(default)]
    sync: SyncConfig,
}

impl Objects {
    /// Loads all `*.object.yml` files of a folder, not of the folders in it.
    ///
    /// # Errors
    /// The first file that is not right, with its line where the YAML is at fault.
    pub fn load(folder: &Path) -> Result<Self, ObjectsError> {
        let unreadable = |source| ObjectsError::Read { path: folder.to_owned(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.retain(|path| path.to_string_lossy().ends_with(SUFFIX));
        paths.sort();
        let mut objects = Self::default();
        for path in paths {
            let definition = read(&path)?;
            if objects.get(definition.name.as_str()).is_some() {
                return Err(ObjectsError::Duplicate { path, name: definition.name });
            }
            objects.0.insert(definition.name.clone(), definition);
        }
        Ok(objects)
    }

    /// The definition of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ObjectDefinition> {
        self.0.get(name)
    }

    /// The names of the objects whose changes go to clients.
    #[must_use]
    pub fn published(&self) -> Vec<ObjectName> {
        self.0.values().filter(|object| object.sync.pulls()).map(|object| object.name.clone()).collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<ObjectDefinition> for Objects {
    fn from_iter<I: IntoIterator<Item = ObjectDefinition>>(definitions: I) -> Self {
        Self(definitions.into_iter().map(|definition| (definition.name.clone(), definition)).collect())
    }
}

fn read(path: &Path) -> Result<ObjectDefinition, ObjectsError> {
    let text =
        fs::read_to_string(path).map_err(|source| ObjectsError::Read { path: path.to_owned(), source })?;
    let file: File = serde_saphyr::from_str(&text).map_err(|error| ObjectsError::Syntax {
        path: path.to_owned(),
        line: error.location().map_or(0, |location| location.line()),
        message: error.without_snippet().to_string(),
    })?;
    let invalid = |source| ObjectsError::Invalid { path: path.to_owned(), source };
    let name = match file.name {
        Some(name) => name,
        None => {
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            ObjectName::new(file_name.strip_suffix(SUFFIX).unwrap_or_default()).map_err(invalid)?
        }
    };
    let File { label, fields, indexes, sync, .. } = file;
    let definition = ObjectDefinition { name, label, fields, indexes, sync };
    definition.check().map_err(invalid)?;
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use objectql_sync_protocol::Strategy;

    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Objects, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Objects::load(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_names_its_object() {
        let story = "label: Story\nfields:\n  title: { type: text, required: true }\n  status:\n    type: select\n    \
                     options:\n      - open\n      - { value: done, label: Done }\nsync:\n  enabled: true\n  strategy: crdt\n";
        let objects = load(&[
            ("story.object.yml", story),
            ("other.object.yml", "name: task\nsync: { enabled: true, direction: push-only }"),
            ("notes.txt", "- no object"),
        ])
        .unwrap();
        assert_eq!(objects.len(), 2);
        let story = objects.get("story").unwrap();
        assert_eq!(
            (story.sync.strategy, story.fields.get("status").unwrap().options.len()),
            (Strategy::Crdt, 2)
        );
        assert_eq!(objects.published(), vec![ObjectName::new("story").unwrap()]);
        assert!(objects.get("task").is_some());
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        for (file, text, expected) in [
            ("a.object.yml", "fields:\n  title:\n    type: [\n", "a.object.yml:"),
            ("a.object.yml", "label: A\nsync:\n  enabled: perhaps\n", "a.object.yml:3: "),
            ("a.object.yml", "label: A\nsync:\n  strategy: last\n", "a.object.yml:3: "),
            ("a.object.yml", "fields:\n  title: { type: words }\n", "a.object.yml: object a: field title"),
            ("a b.object.yml", "label: A\n", "a b.object.yml: the object name"),
        ] {
            let message = load(&[(file, text)]).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let message = load(&[("a.object.yml", "label: A"), ("b.object.yml", "name: a")]).unwrap_err();
        assert!(message.contains("b.object.yml: the object a is defined by another file"), "{message}");
    }
}
