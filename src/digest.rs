//! SHA-256, in one place: by ring, whose assembler is fast also on processors that have no instructions for it.

use ring::digest::{Context, SHA256, digest};

/// The digest of a text.
#[must_use]
pub fn sha256(text: impl AsRef<[u8]>) -> [u8; 32] {
    array(&digest(&SHA256, text.as_ref()))
}

/// The digest of parts, each behind its length, so that no two lists of parts come to the same bytes.
#[must_use]
pub fn sha256_of_parts<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    array(&context.finish())
}

fn array(digest: &ring::digest::Digest) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(digest.as_ref());
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_one_that_is_known() {
        // FIPS 180-4, by its example "abc".
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256("abc")), known);
        assert_ne!(sha256_of_parts([b"ab", b"c"]), sha256_of_parts([b"a", b"bc"]));
    }
}
