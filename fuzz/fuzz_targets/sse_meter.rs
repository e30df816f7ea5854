//! An event stream: whatever it is and however it is cut, the meter reads the same of it, what a reader of the whole
//! stream reads, and keeps next to nothing while it reads.
#![no_main]

use std::alloc::System;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use mavera_gateway_fuzz::meter;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a meter may hold beside its own fixed size: an id, the type of an event, and what it makes of them.
const KEPT: isize = 2 << 10;
/// How often the stream goes through one meter: what grew with its length would be seen.
const ROUNDS: usize = 64;

fuzz_target!(|body: &[u8]| {
    // What all meters share is made with the first that wants it, and is none of this stream's.
    static SHARED: Once = Once::new();
    SHARED.call_once(|| {
        let mut meter = meter::meter("text/event-stream");
        meter.look(b"data: a\n\n");
        meter.look(b"data: b\n\n");
    });
    let reading = meter::metered("text/event-stream", body);
    if let Some(expected) = meter::event_stream(body) {
        assert_eq!(reading, expected);
    }
    let mut meter = meter::meter("text/event-stream");
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        meter.look(body);
        let change = region.change();
        let kept = change.bytes_allocated.wrapping_sub(change.bytes_deallocated).cast_signed();
        assert!(kept <= KEPT, "{kept} bytes are kept of a stream");
    }
    let _ = meter.finish(false);
});
