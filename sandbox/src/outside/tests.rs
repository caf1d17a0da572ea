use super::*;

fn replay(recording: Vec<u8>) -> Outside {
    let source = Source::replayed(Recording(recording));
    let world = Arc::new(World::new(1));
    let canceller = || Canceller {
        run: Arc::default(),
        generation: 1,
    };
    Outside::new(&world, Clocks::default(), source, canceller)
}

#[test]
fn damaged_recordings_are_left_and_nothing_else() {
    let mut live = replay(Vec::new());
    live.source = Source::recorded(1 << 20);
    let mut clocks = Clocks::default();
    let ask = |outside: &mut Outside, clocks: &mut Clocks| {
        let mut random = [0; 16];
        outside.random(&mut random);
        let times = (outside.real_ns(), outside.monotonic_ns(clocks));
        let mut input = [0; 8];
        let read = outside.input(&mut input, |target| {
            target[..3].copy_from_slice(b"abc");
            Ok(3)
        });
        let wrote = outside.output(10, |len| (len.min(7), Err(Errno(libc::EPIPE).into())));
        let share = outside.mappings(|| Some(()));
        (random, times, input, format!("{read:?} {wrote:?}"), share)
    };
    let told = ask(&mut live, &mut clocks);
    let recording = live.take_recording().expect("all of it").0;
    let mut again = replay(recording.clone());
    assert_eq!(ask(&mut again, &mut clocks), told);
    assert_eq!(again.divergence(), None);
    for len in 0..recording.len() {
        let mut cut = replay(recording[..len].to_vec());
        ask(&mut cut, &mut clocks);
        assert!(cut.divergence().is_some(), "cut to {len} bytes");
    }
    for at in 0..recording.len() {
        for value in [0, 0xFF, recording[at] ^ 1] {
            let mut damaged = recording.clone();
            damaged[at] = value;
            ask(&mut replay(damaged), &mut clocks);
        }
    }
}

#[test]
fn recordings_that_grow_too_long_are_given_up() {
    let mut outside = replay(Vec::new());
    outside.source = Source::recorded(17);
    outside.real_ns();
    outside.real_ns();
    assert_eq!(outside.take_recording(), None);
    outside.source = Source::recorded(18);
    outside.real_ns();
    outside.real_ns();
    assert_eq!(outside.take_recording().map(|all| all.len()), Some(18));
}
