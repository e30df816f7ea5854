//! The organisation's key on its way back: an upstream that echoes it, in a field or in a body, has it masked.
//!
//! In a body, each byte of the secret part becomes `*`: the length stays, and with it the framing. Nothing is held
//! back to see how a frame goes on, so at the end of a frame whatever has begun like the key is masked already. A frame
//! without the key is passed on as it is, not copied.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::secret::{KEY_PREFIX, UpstreamKey};

/// What every key begins with is public; looking for it alone keeps copies of the key out of the finder.
static PREFIX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY_PREFIX));

/// Watches one body for the key.
#[derive(Debug)]
pub struct Mask {
    key: UpstreamKey,
    /// Bytes of the key that the body ended with so far.
    matched: usize,
}

impl Mask {
    /// Watches for `key`.
    #[must_use]
    pub fn new(key: &UpstreamKey) -> Self {
        Self { key: key.clone(), matched: 0 }
    }

    /// The next bytes of the body, with the key masked.
    #[must_use]
    pub fn look(&mut self, frame: Bytes) -> Bytes {
        if self.matched == 0 && PREFIX.find(&frame).is_none() {
            // Almost every frame.
            self.matched = begun(&frame);
            return frame;
        }
        let key = self.key.reveal();
        let mut copy = None;
        let mut at = 0;
        let mut matched = std::mem::take(&mut self.matched);
        loop {
            // Where something that begins like the key goes on.
            let rest = &frame[at..];
            let common = rest.iter().zip(&key[matched..]).take_while(|(a, b)| a == b).count();
            let (whole, cut) = (matched + common == key.len(), common == rest.len());
            if whole || cut {
                let secret = at + KEY_PREFIX.len().saturating_sub(matched);
                if secret < at + common {
                    copy.get_or_insert_with(|| BytesMut::from(&frame[..]))[secret..at + common].fill(b'*');
                }
            }
            if cut && !whole {
                self.matched = matched + common;
                break;
            }
            at += if whole { common } else { usize::from(matched == 0) };
            matched = 0;
            let Some(next) = PREFIX.find(&frame[at..]) else {
                self.matched = begun(&frame[at..]);
                break;
            };
            at += next;
        }
        copy.map_or(frame, BytesMut::freeze)
    }

    /// Whether the key is in a field's value.
    #[must_use]
    pub fn is_in(&self, value: &[u8]) -> bool {
        PREFIX.find_iter(value).any(|at| value[at..].starts_with(self.key.reveal()))
    }
}

/// How much of the public prefix a frame ends with.
fn begun(frame: &[u8]) -> usize {
    (1..KEY_PREFIX.len()).rev().find(|&length| frame.ends_with(&KEY_PREFIX[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "mvra_live_plainlyfakekeyfortestsonly00";
    const MASKED: &str = "mvra_live_****************************";

    fn masked(frames: &[&[u8]]) -> Vec<u8> {
        let mut mask = Mask::new(&UpstreamKey::for_tests(KEY));
        frames.iter().flat_map(|frame| mask.look(Bytes::copy_from_slice(frame))).collect()
    }

    #[test]
    fn a_frame_without_the_key_is_the_frame_itself() {
        let mut mask = Mask::new(&UpstreamKey::for_tests(KEY));
        for text in
            ["", "m", "data: mvra_live", "_ is what keys begin with", "mvra_live_of another key", "mvra_"]
        {
            let frame = Bytes::from(text);
            let (before, out) = (frame.as_ptr(), mask.look(frame));
            assert_eq!((out.as_ptr(), &out[..]), (before, text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_key_is_masked_wherever_a_body_is_cut() {
        let body =
            format!("data: {{\"echo\":\"{KEY}{KEY} and mvra_live_other, mvra_mvra_live_ {KEY}\"}}\n\n");
        let expected = body.replace(KEY, MASKED).into_bytes();
        assert_eq!(masked(&[body.as_bytes()]), expected);
        let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
        let one_by_one = masked(&bytes);
        assert_eq!(one_by_one.len(), expected.len());
        for cut in 0..=body.len() {
            let (first, second) = body.as_bytes().split_at(cut);
            let out = masked(&[first, second]);
            // Where a cut goes through what merely begins like the key, that beginning is masked too.
            let same = out.iter().zip(&expected).all(|(out, wanted)| out == wanted || *out == b'*');
            assert!(same && out.len() == expected.len(), "cut at {cut}: {}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn a_field_with_the_key_is_told() {
        let mask = Mask::new(&UpstreamKey::for_tests(KEY));
        assert!(mask.is_in(format!("text/plain; mvra_live_x={KEY}").as_bytes()));
        assert!(!mask.is_in(b"text/plain; mvra_live_x") && !mask.is_in(b""));
    }

    proptest! {
        #[test]
        fn no_way_of_cutting_lets_much_of_the_key_through(
            text in "[mvra_live\\PC]{0,20}",
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let body = format!("{text}{KEY}{text}{KEY}");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (body.len() + 1)).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let frames: Vec<_> = cuts.windows(2).map(|pair| &body.as_bytes()[pair[0]..pair[1]]).collect();
            let out = masked(&frames);
            prop_assert_eq!(out.len(), body.len());
            let secret = &KEY.as_bytes()[KEY_PREFIX.len()..];
            prop_assert!(!out.windows(4).any(|window| secret.windows(4).any(|part| part == window)));
        }
    }
}
