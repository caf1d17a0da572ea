use super::*;

const MIB: usize = 1 << 20;

/// Asks for `take` bytes of a block; tells whether it had to be decoded.
fn missed(cache: &Cache, block: u32, len: usize, take: usize) -> bool {
    let mut decoded = false;
    let mark = u8::try_from(block % 251).expect("below 251");
    let plain = cache.get(block, len, take, |out| {
        out.fill(mark);
        decoded = true;
        Ok(())
    });
    let plain = plain.expect("decodes");
    assert_eq!(plain.len(), len);
    assert!(plain[0] == mark && plain[len - 1] == mark);
    decoded
}

fn charged(cache: &Cache) -> usize {
    cache.kept.read().expect("not poisoned").charged
}

#[test]
fn what_is_kept_is_not_decoded_again() {
    let cache = Cache::default();
    assert!(missed(&cache, 1, 100, 10));
    assert!(!missed(&cache, 1, 100, 10));
    assert!(missed(&cache, 2, 3 * MIB, 10));
    assert!(!missed(&cache, 2, 3 * MIB, 10));
}

#[test]
fn blocks_of_any_number_and_size_stay_within_the_bound() {
    let cache = Cache::default();
    let sizes = [16 * MIB, 1, 4 * MIB, 100_000, MIB + 1];
    for (block, len) in (0..1000).zip(sizes.into_iter().cycle()) {
        missed(&cache, block, len, len);
        assert!(charged(&cache) <= CACHE_BYTES);
    }
    // So small that what they are charged over their bytes is nearly all.
    for block in 1000..600_000 {
        missed(&cache, block, 1, 1);
    }
    assert!(charged(&cache) <= CACHE_BYTES);
    let kept = cache.kept.read().expect("not poisoned");
    assert!(kept.blocks.len() <= CACHE_BYTES / OVERHEAD);
    assert!(kept.waiting.len() <= CACHE_BYTES / OVERHEAD + 1000);
    let sum: usize = kept.blocks.values().map(|e| charge(e.plain.len())).sum();
    assert_eq!(sum, kept.charged, "nothing is charged that is not kept");
}

#[test]
fn a_block_in_use_outlives_those_that_pass_by() {
    let cache = Cache::default();
    missed(&cache, 0, MIB, 1);
    for block in 1..500 {
        assert!(!missed(&cache, 0, MIB, 1), "evicted at {block}");
        missed(&cache, block, MIB, 1);
    }
    assert!(missed(&cache, 1, MIB, 1), "the others are gone");
}

#[test]
fn reading_in_order_keeps_one_large_block() {
    let cache = Cache::default();
    for block in 0..100 {
        assert!(missed(&cache, block, 4 * MIB, 3 * MIB));
        assert!(!missed(&cache, block, 4 * MIB, MIB));
        assert_eq!(charged(&cache), 4 * MIB + OVERHEAD);
    }
}

#[test]
fn a_block_that_comes_back_stays() {
    let cache = Cache::default();
    for round in 0..4 {
        for block in 0..10 {
            let again = missed(&cache, block, 4 * MIB, 4 * MIB);
            assert_eq!(again, round < 2, "{round} {block}");
        }
    }
}

#[test]
fn a_block_that_is_being_read_keeps_its_memory() {
    let cache = Cache::default();
    let held = cache
        .get(0, 4 * MIB, 4 * MIB, |out| {
            out.fill(1);
            Ok(())
        })
        .expect("decodes");
    missed(&cache, 2, 4 * MIB, 4 * MIB);
    assert!(held.iter().all(|&b| b == 1));
    assert_eq!(charged(&cache), 2 * (4 * MIB + OVERHEAD));
}

#[test]
fn memory_goes_to_blocks_that_fit_it() {
    let cache = Cache::default();
    missed(&cache, 0, 2 * MIB, 2 * MIB);
    missed(&cache, 1, 3 * MIB, 3 * MIB);
    assert_eq!(
        charged(&cache),
        5 * MIB + 2 * OVERHEAD,
        "the first is too small"
    );
    missed(&cache, 2, MIB + 5, 1);
    assert_eq!(charged(&cache), 5 * MIB + 2 * OVERHEAD, "the first fits");
}

#[test]
fn no_block_hides_in_the_memory_of_a_larger_one() {
    let cache = Cache::default();
    for block in 0..100 {
        missed(&cache, 2 * block, 16 * MIB, 16 * MIB);
        missed(&cache, 2 * block + 1, MIB, 1);
        let kept = cache.kept.read().expect("not poisoned");
        let memory: usize = kept.blocks.values().map(|e| e.plain.memory_len()).sum();
        assert!(memory <= kept.charged && kept.charged <= CACHE_BYTES);
    }
}

#[test]
fn threads_with_frames_of_any_size_stay_within_the_bound() {
    let cache = Cache::default();
    std::thread::scope(|scope| {
        for thread in 0..24 {
            let cache = &cache;
            scope.spawn(move || {
                for block in 0..20 {
                    let len = if block % 2 == 0 { 16 * MIB } else { 4 * MIB };
                    cache
                        .get(thread * 100 + block, len, 1, |_| {
                            assert!(charged(cache) <= CACHE_BYTES);
                            Ok(())
                        })
                        .expect("decodes");
                }
            });
        }
    });
}

#[test]
fn a_block_that_does_not_decode_is_not_charged() {
    let cache = Cache::default();
    for block in 0..100 {
        let refused = cache.get(block, 4 * MIB, 1, |_| Err(Error::Interrupted));
        assert!(matches!(refused, Err(Error::Interrupted)));
    }
    assert_eq!(charged(&cache), 0);
}

#[test]
fn threads_that_miss_one_block_decode_it_once() {
    let cache = Cache::default();
    let decoded = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let plain = cache.get(3, 2 * MIB, 1, |_| {
                    decoded.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    Ok(())
                });
                assert_eq!(plain.expect("decodes").len(), 2 * MIB);
            });
        }
    });
    assert_eq!(decoded.into_inner(), 1);
}
