//! A body whose label is missing, or says neither JSON nor event stream: its first bytes tell which it is.

/// What a body turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turns {
    Json,
    EventStream,
    /// Neither, as far as can be seen.
    Opaque,
}

/// Bytes that are enough to tell: a byte order mark, and the longest name of a field with its colon.
const ENOUGH: usize = 3 + 6;
/// White space in front of a document that is waited through.
const MOST: usize = 64;
/// How the first line of an event stream begins (WHATWG HTML §9.2.6), a comment among them.
const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];

/// The first bytes of a body, kept until they tell.
#[derive(Debug, Default)]
pub(super) struct Unlabelled(Vec<u8>);

impl Unlabelled {
    /// Looks at the next bytes. When it can be told what they are, returns that and all bytes so far that are not among `bytes`.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Option<(Turns, Vec<u8>)> {
        let before = self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(MOST)]);
        let turns = tells(&self.0)?;
        self.0.truncate(before);
        Some((turns, std::mem::take(&mut self.0)))
    }

    /// The body is over: what it was, and its bytes.
    pub(super) fn finish(self) -> (Turns, Vec<u8>) {
        // As short as it is, it can be a document still: `{}`.
        let turns = tells(&self.0).unwrap_or(Turns::Json);
        (turns, self.0)
    }
}

fn tells(bytes: &[u8]) -> Option<Turns> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    if BOM.starts_with(bytes) {
        return None;
    }
    let text = bytes.strip_prefix(BOM).unwrap_or(bytes).trim_ascii_start();
    match text.first() {
        Some(b'{' | b'[') => return Some(Turns::Json),
        None if bytes.len() < MOST => return None,
        _ => {}
    }
    let is_field = |field: &&[u8]| {
        text.strip_prefix(*field)
            .is_some_and(|rest| *field == b":" || matches!(rest.first(), Some(b':' | b'\n' | b'\r')))
    };
    if FIELDS.iter().any(is_field) {
        return Some(Turns::EventStream);
    }
    let could_be = FIELDS.iter().any(|field| field.starts_with(text) || text == *field);
    (!could_be || text.len() >= ENOUGH).then_some(Turns::Opaque)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_however_they_are_cut() {
        for (body, expected) in [
            ("{\"a\":1}", Turns::Json),
            (" \r\n\t[1]", Turns::Json),
            ("\u{feff}{}", Turns::Json),
            ("event: response.created\ndata: {}\n\n", Turns::EventStream),
            ("data:{}\n\n", Turns::EventStream),
            (": keep-alive\n\n", Turns::EventStream),
            ("\u{feff}data: [DONE]\n\n", Turns::EventStream),
            ("\n\nretry\n", Turns::EventStream),
            ("<html>", Turns::Opaque),
            ("database is down", Turns::Opaque),
            ("identity", Turns::Opaque),
            ("upstream connect error", Turns::Opaque),
        ] {
            for cut in 0..body.len() {
                let mut unlabelled = Unlabelled::default();
                let mut seen = Vec::new();
                let mut found = None;
                for part in [&body.as_bytes()[..cut], &body.as_bytes()[cut..]] {
                    if let Some((turns, before)) = unlabelled.look(part) {
                        found = Some(turns);
                        seen.extend([before.as_slice(), part].concat());
                        break;
                    }
                }
                assert_eq!(found, Some(expected), "{body:?} cut at {cut}");
                assert!(body.as_bytes().starts_with(&seen), "each byte once");
            }
        }
    }

    #[test]
    fn what_ends_before_it_tells_is_taken_for_a_document() {
        for body in ["", " ", "dat"] {
            let mut unlabelled = Unlabelled::default();
            assert_eq!(unlabelled.look(body.as_bytes()), None);
            assert_eq!(unlabelled.finish(), (Turns::Json, body.as_bytes().to_vec()));
        }
    }
}
