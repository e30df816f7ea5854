//! Ways of cutting a body into frames.

/// Hands `bytes` to `look` as frames whose lengths follow from `seed`. Seed 0 gives one frame, seed 1 single
/// bytes, every other seed frames of 0 to 16 bytes.
pub fn frames(bytes: &[u8], seed: u64, mut look: impl FnMut(&[u8])) {
    match seed {
        0 => look(bytes),
        1 => bytes.chunks(1).for_each(look),
        _ => {
            let (mut state, mut rest) = (seed, bytes);
            while !rest.is_empty() {
                // Knuth's multiplier; the high bits are the good ones.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let length = usize::try_from(state >> 33).unwrap_or(0) % 17;
                let (frame, after) = rest.split_at(length.min(rest.len()));
                look(frame);
                rest = after;
            }
        }
    }
}

/// Seeds worth trying for this input: one frame, single bytes, and two that differ from input to input.
pub fn seeds(bytes: &[u8]) -> [u64; 4] {
    // FNV-1a: the same input is cut in the same way when a find is replayed.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    [0, 1, hash | 2, hash.rotate_left(32) | 2]
}
