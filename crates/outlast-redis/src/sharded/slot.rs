//! Which shard an owner, an id or a record belongs to, and what the keys of each shard begin with.
//!
//! All of it is a format: a store that was made by one release is read by the next.
//!
//! * The shard of an owner is the CRC-16 of its name, the one that clusters of Redis have for their slots,
//!   modulo the number of shards; that of a small record the same of its space, a zero byte and its key.
//! * The shard of an id is its last two bytes, as a number, modulo the number of shards.
//! * Keys of shard 2 begin with `{NAME:2-n}`, where `n` is the smallest number for which the slots of all
//!   shards lie equally far from each other. So a number of shards that is a multiple of the number of
//!   primaries gives every primary as many, wherever the first one lies, if each has an equal range of
//!   slots, as `redis-cli --cluster create` gives them.

use outlast_core::{Owner, TaskId};

/// How many slots a cluster has.
const SLOTS: usize = 16384;

/// Goes on with a checksum (CRC-16/XMODEM) over more bytes.
fn crc16(sum: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            let carries = sum & 0x8000 != 0;
            (sum << 1) ^ if carries { 0x1021 } else { 0 }
        })
    })
}

pub(super) fn of_owner(owner: &Owner, shards: usize) -> usize {
    usize::from(crc16(0, owner.as_str().as_bytes())) % shards
}

pub(super) fn of_id(id: TaskId, shards: usize) -> usize {
    let last = id.as_bytes().last_chunk().expect("an id has sixteen bytes");
    usize::from(u16::from_be_bytes(*last)) % shards
}

pub(super) fn of_record(space: &str, key: &str, shards: usize) -> usize {
    let sum = crc16(crc16(0, space.as_bytes()), &[0]);
    usize::from(crc16(sum, key.as_bytes())) % shards
}

/// What the keys of each shard begin with, without the braces.
pub(super) fn names(prefix: &str, shards: usize) -> Vec<String> {
    let first = format!("{prefix}:0");
    let start = usize::from(crc16(0, first.as_bytes())) % SLOTS;
    let others = (1..shards).map(|shard| {
        let wanted = (start + shard * SLOTS / shards) % SLOTS;
        let name = format!("{prefix}:{shard}-");
        let sum = crc16(0, name.as_bytes());
        let fits = |number: &String| usize::from(crc16(sum, number.as_bytes())) % SLOTS == wanted;
        let mut numbers = (0..u32::MAX).map(|number| number.to_string());
        let number = numbers.find(fits).expect("numbers reach every slot");
        name + &number
    });
    std::iter::once(first.clone()).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_stays() {
        assert_eq!(crc16(0, b"123456789"), 0x31c3);
        let shards = [("local", 1), ("ann", 1), ("bob", 2)];
        for (owner, shard) in shards {
            assert_eq!(of_owner(&Owner::new(owner), 3), shard, "{owner}");
        }
        let id = "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d0105".parse().unwrap();
        assert_eq!(of_id(id, 64), 0x0105 % 64);
        assert_eq!(of_record("s", "k", 1), 0);
    }

    #[test]
    fn shards_lie_equally_far_from_each_other() {
        for shards in [1, 2, 3, 6, 64] {
            let slot = |name: &String| usize::from(crc16(0, name.as_bytes())) % SLOTS;
            let names = names("outlast", shards);
            let slots: Vec<_> = names.iter().map(slot).collect();
            let wanted = (0..shards).map(|shard| (slots[0] + shard * SLOTS / shards) % SLOTS);
            assert_eq!(slots, Vec::from_iter(wanted));
            assert!(names.iter().all(|name| name.starts_with("outlast:")));
        }
    }
}
