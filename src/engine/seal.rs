//! What goes on the disk is sealed: a magic, a version, a checksum, and the body.
//!
//! ```text
//! offset  0  1   2         3         7
//!         magic  version   xxh32 LE  body
//! ```
//!
//! The version tells a newer format from damage: a later format keeps the header, and has its version as the seed of its checksum, so that a
//! version that was damaged does not pass for a newer one; or it goes into a later version of the IndexedDB database.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use thiserror::Error;

const HEADER_BYTES: usize = 7;

/// XXH32 of a body (Yann Collet, "xxHash fast digest algorithm"): it finds damage as well as a CRC of the same length, and needs
/// none of a fast CRC's 16 KB of tables, which do not compress.
fn checksum(body: &[u8], seed: u32) -> u32 {
    xxhash_rust::xxh32::xxh32(body, seed)
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Too short, or not starting as it should.
    #[error("it is not of the driver's format")]
    BadMagic,
    /// Written by a newer driver.
    #[error("it has the newer format {0}")]
    Newer(u8),
    /// The checksum does not fit the body.
    #[error("the checksum does not fit")]
    BadChecksum,
    /// The checksum fits and the body makes no sense.
    #[error("the body cannot be read")]
    BadBody,
    /// Not there.
    #[error("it is missing")]
    Missing,
    /// More bytes than a row may have.
    #[error("it is larger than 32 MiB")]
    TooLarge,
}

/// Adds a value to bytes, in postcard's encoding.
pub(super) fn append(value: &(impl Serialize + ?Sized), bytes: &mut Vec<u8>) -> Result<(), FormatError> {
    postcard::serialize_with_flavor(value, Bytes(bytes)).map_err(|_| FormatError::BadBody)
}

/// Bytes that grow by whole texts: `postcard::to_extend` takes them byte by byte, which is most of the work of a commit where a browser
/// has just compiled the code.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Flavor for Bytes<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The beginning of something sealed: its body is to be added.
pub(super) fn begin(magic: [u8; 2], version: u8) -> Vec<u8> {
    [magic[0], magic[1], version, 0, 0, 0, 0].to_vec()
}

/// Puts the checksum of the body in.
pub(super) fn finish(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some((header, body)) = bytes.split_first_chunk_mut::<HEADER_BYTES>()
        && let Some(place) = header.get_mut(3..)
    {
        place.copy_from_slice(&checksum(body, 0).to_le_bytes());
    }
    bytes
}

/// The body of something sealed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open(bytes: &[u8], magic: [u8; 2], newest: u8) -> Result<&[u8], FormatError> {
    let Some(([m0, m1, version, c0, c1, c2, c3], body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FormatError::BadMagic);
    };
    if [*m0, *m1] != magic {
        return Err(FormatError::BadMagic);
    }
    let is_newer = *version > newest;
    let seed = if is_newer { u32::from(*version) } else { 0 };
    if checksum(body, seed) != u32::from_le_bytes([*c0, *c1, *c2, *c3]) {
        return Err(FormatError::BadChecksum);
    }
    if is_newer { Err(FormatError::Newer(*version)) } else { Ok(body) }
}

/// Makes something sealed what a later release may write.
#[cfg(test)]
pub(super) fn make_newer(bytes: &mut [u8]) {
    let version = 99;
    if let Some(([_, _, at, sum @ ..], body)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
        *at = version;
        *sum = checksum(body, u32::from(version)).to_le_bytes();
    }
}
