//! What the engine has stored: a file per namespace.
//!
//! Good for little that changes seldom: each batch writes its namespace anew. A module that stores much
//! needs a database behind [`EntryFiles::load`] and [`EntryFiles::apply`], which is all that the rest of
//! the node knows of these files.

use super::files::DataDir;
use crate::NodeError;
use bytes::Bytes;
use hedgerow_protocol::store::Entries;
use hedgerow_protocol::{Namespace, StoreOp, Stored};
use serde::{Deserialize, Serialize};
use std::io;

/// The layout of the files. One of another version is not read.
const VERSION: u8 = 1;
/// A namespace takes no more bytes than that, for each batch writes all of them.
const BYTES_MAX: usize = 4 << 20;

/// What stands in a file behind its checksum, in CBOR. It says whose it is, so that none is taken for
/// another one.
#[derive(Serialize, Deserialize)]
struct EntryFile {
    version: u8,
    namespace: String,
    entries: Vec<(Bytes, Bytes)>,
}

/// What the files hold, or would hold where there is no directory.
#[derive(Debug, Default)]
pub(super) struct EntryFiles {
    stored: Stored,
}

/// The name of a namespace's file.
pub(super) fn file_name(namespace: Namespace) -> String {
    format!("{}.store", namespace.name())
}

impl EntryFiles {
    /// Reads what is there.
    pub(super) fn load(dir: &DataDir) -> Result<Self, NodeError> {
        let mut stored = Stored::default();
        for namespace in Namespace::ALL {
            let name = file_name(namespace);
            if let Some(bytes) = dir.read_checked(&name)? {
                let entries = decode(namespace, &bytes).map_err(|why| dir.damaged(&name, why))?;
                *stored.entries_mut(namespace) = entries;
            }
        }
        Ok(Self { stored })
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Makes the changes of a batch, all of them or none. They are durable once this returns, where
    /// there is a directory.
    pub(super) fn apply(
        &mut self,
        dir: Option<&DataDir>,
        namespace: Namespace,
        ops: Vec<StoreOp>,
    ) -> Result<(), NodeError> {
        let entries = self.stored.entries_mut(namespace);
        let mut changed = entries.clone();
        changed.apply(ops);
        if let Some(dir) = dir {
            let name = file_name(namespace);
            let bytes =
                encode(namespace, &changed).map_err(NodeError::data_dir(dir.file(&name)))?;
            dir.write_checked(&name, &bytes)?;
        }
        *entries = changed;
        Ok(())
    }
}

fn encode(namespace: Namespace, entries: &Entries) -> io::Result<Vec<u8>> {
    let copied = entries.iter();
    let file = EntryFile {
        version: VERSION,
        namespace: namespace.name().to_owned(),
        entries: copied
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&file, &mut bytes).map_err(io::Error::other)?;
    if bytes.len() > BYTES_MAX {
        let why = format!("it would be larger than {BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

fn decode(namespace: Namespace, bytes: &[u8]) -> Result<Entries, String> {
    let file: EntryFile = ciborium::from_reader(bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!(
            "it has layout {}, and this version knows {VERSION} only",
            file.version
        ));
    }
    if file.namespace != namespace.name() {
        return Err(format!("it is that of `{}`", file.namespace));
    }
    Ok(file.entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const HERE: Namespace = Namespace::Overlay;

    fn put(key: &str, value: &str) -> StoreOp {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        StoreOp::Put {
            key: bytes(key),
            value: bytes(value),
        }
    }

    fn delete(key: &str) -> StoreOp {
        let key = Bytes::copy_from_slice(key.as_bytes());
        StoreOp::Delete { key }
    }

    fn open(path: &Path) -> (DataDir, Result<EntryFiles, NodeError>) {
        let dir = DataDir::open(path).expect("opens");
        let files = EntryFiles::load(&dir);
        (dir, files)
    }

    /// What a new process finds.
    fn found(path: &Path) -> Stored {
        open(path).1.expect("loads").stored
    }

    fn holds(stored: &Stored, expected: &[(&str, &str)]) -> bool {
        let mut stored = stored.clone();
        let found = stored.entries_mut(HERE).iter();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("a text");
        let found = found.map(|(key, value)| (text(key), text(value)));
        let expected = expected.iter().copied();
        found.eq(expected.map(|(key, value)| (key.to_owned(), value.to_owned())))
    }

    #[test]
    fn what_was_answered_is_found_by_the_next_process_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(holds(&found(dir.path()), &[]));
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let batches = [
            vec![put("a", "1"), put("b", "2"), put("a", "3")],
            vec![delete("b"), put("c", ""), delete("d")],
        ];
        for batch in batches {
            files.apply(Some(&held), HERE, batch).expect("writes");
        }
        drop(held);
        let stored = found(dir.path());
        assert_eq!(stored, files.stored);
        assert!(holds(&stored, &[("a", "3"), ("c", "")]));
        let file = fs::metadata(dir.path().join(file_name(HERE))).expect("is there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_batch_that_cannot_be_written_changes_nothing_and_the_next_one_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let batch = vec![put("a", "1")];
        files.apply(Some(&held), HERE, batch).expect("writes");
        // No file can take the place of a directory, whoever runs the test.
        let blocked = dir.path().join(format!(".{}.new", file_name(HERE)));
        fs::create_dir(&blocked).expect("creates");
        let batch = vec![put("a", "2"), put("b", "2")];
        let error = files.apply(Some(&held), HERE, batch.clone());
        let error = error.expect_err("is blocked").to_string();
        assert!(error.contains(&file_name(HERE)), "{error}");
        let large = vec![put("large", &"x".repeat(BYTES_MAX))];
        let error = files
            .apply(Some(&held), HERE, large)
            .expect_err("too large");
        assert!(error.to_string().contains("larger than"), "{error}");
        assert!(holds(&files.stored, &[("a", "1")]));
        fs::remove_dir(&blocked).expect("removes");
        files.apply(Some(&held), HERE, batch).expect("writes");
        drop(held);
        assert!(holds(&found(dir.path()), &[("a", "2"), ("b", "2")]));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode));
        mode(0o500).expect("changes");
        let is_superuser = fs::write(dir.path().join("probe"), "").is_ok();
        let result = files.apply(Some(&held), HERE, vec![put("a", "1")]);
        mode(0o700).expect("changes");
        // No mode holds the superuser back.
        if !is_superuser {
            let error = result.expect_err("not writable");
            assert!(matches!(error, NodeError::DataDir { .. }), "{error}");
            assert!(holds(&files.stored, &[]));
        }
    }

    #[test]
    fn a_process_that_dies_while_it_writes_leaves_what_was_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let batch = vec![put("a", "1")];
        files.apply(Some(&held), HERE, batch).expect("writes");
        drop(held);
        // Before it is renamed the new file lies beside the old one, whole or not.
        let name = file_name(HERE);
        let temporary = dir.path().join(format!(".{name}.new"));
        let whole = fs::read(dir.path().join(&name)).expect("is there");
        for bytes in [&whole[..], &whole[..7], b""] {
            fs::write(&temporary, bytes).expect("writes");
            assert!(holds(&found(dir.path()), &[("a", "1")]));
        }
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let batch = vec![put("b", "2")];
        files.apply(Some(&held), HERE, batch).expect("writes");
        assert!(!temporary.exists());
        drop(held);
        assert!(holds(&found(dir.path()), &[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn a_damaged_file_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(file_name(HERE));
        let (held, files) = open(dir.path());
        let mut files = files.expect("loads");
        let batch = vec![put("a", "1")];
        files.apply(Some(&held), HERE, batch).expect("writes");
        let damaged = |words: &str| {
            let error = EntryFiles::load(&held).expect_err("is damaged");
            let error = error.to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
            assert!(error.contains("restore it or move it away"), "{error}");
            assert!(error.contains(words), "{error}");
        };
        let right = fs::read(&file).expect("is there");
        for bit in 0..right.len() * 8 {
            let mut bytes = right.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bytes).expect("writes");
            damaged("checksum");
        }
        for cut in [0, 10, right.len() - 1] {
            fs::write(&file, &right[..cut]).expect("writes");
            damaged("checksum");
        }
        let write = |version, namespace: &str| {
            let file = EntryFile {
                version,
                namespace: namespace.to_owned(),
                entries: Vec::new(),
            };
            let mut bytes = Vec::new();
            ciborium::into_writer(&file, &mut bytes).expect("encodes");
            held.write_checked(&file_name(HERE), &bytes)
                .expect("writes");
        };
        write(2, HERE.name());
        damaged("layout 2");
        write(VERSION, "queues");
        damaged("`queues`");
        held.write_checked(&file_name(HERE), b"no CBOR")
            .expect("writes");
        damaged("is damaged");
        fs::remove_file(&file).expect("moves it away");
        let files = EntryFiles::load(&held).expect("begins anew");
        assert!(holds(&files.stored, &[]));
    }
}
