//! The routing state as bytes: the same random words told to one that is left alone and to one that
//! comes back from its bytes now and then.

use super::*;

#[derive(Clone, Debug)]
enum Word {
    /// A peer, a prefix, a path identifier, an origin.
    Say(u8, u16, Option<u32>, Option<u32>),
    Down(u8),
    Stale(u8),
    EndOfRib(u8, Family),
    Cut,
}

fn word() -> impl Strategy<Value = Word> {
    let path_id = prop::option::weighted(0.2, 0..3_u32);
    let origin = prop::option::weighted(0.7, 0..12_u32);
    let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
    prop_oneof![
        60 => (0..5_u8, 0..90_u16, path_id, origin)
            .prop_map(|(peer, prefix, path_id, origin)| Word::Say(peer, prefix, path_id, origin)),
        1 => (0..5_u8).prop_map(Word::Down),
        2 => (0..5_u8).prop_map(Word::Stale),
        2 => (0..5_u8, family).prop_map(|(peer, family)| Word::EndOfRib(peer, family)),
        6 => Just(Word::Cut),
    ]
}

/// What a word makes of a Rib, in words.
fn say(rib: &mut Rib, word: &Word) -> String {
    match *word {
        Word::Say(number, net, path_id, origin) => {
            let peer = rib.peer_id(&peer(number));
            let changed = rib.apply(peer, prefix(net), path_id, origin.map(route));
            format!("{changed:?}")
        }
        Word::Down(number) => {
            let peer = rib.peer_id(&peer(number));
            format!("{:?}", rib.withdraw_all(peer))
        }
        Word::Stale(number) => {
            let peer = rib.peer_id(&peer(number));
            rib.stale(peer);
            String::new()
        }
        Word::EndOfRib(number, family) => {
            let peer = rib.peer_id(&peer(number));
            format!("{:?}", rib.end_of_rib(peer, family))
        }
        Word::Cut => String::new(),
    }
}

fn saved(rib: &Rib) -> Vec<u8> {
    postcard::to_stdvec(rib).unwrap()
}

fn held(rib: &Rib) -> Vec<String> {
    let mut held = Vec::new();
    rib.for_each(|_| true, |route| held.push(format!("{route:?}")));
    held
}

/// All that it counts, without room to grow.
fn counts(rib: &Rib) -> (u64, u64, u64, u64) {
    let Memory { prefixes, routes, attribute_sets, .. } = rib.memory();
    (prefixes, routes, attribute_sets, rib.refused)
}

proptest! {
    #[test]
    fn it_goes_on_from_its_bytes(words in prop::collection::vec(word(), 0..400)) {
        let (mut alone, mut cut) = (Rib::new(150), Rib::new(150));
        for word in &words {
            if let Word::Cut = word {
                cut = postcard::from_bytes(&saved(&cut)).unwrap();
            }
            prop_assert_eq!(say(&mut alone, word), say(&mut cut, word), "{:?}", word);
            prop_assert_eq!(counts(&alone), counts(&cut), "{:?}", word);
        }
        prop_assert_eq!(saved(&alone), saved(&cut));
        prop_assert_eq!(held(&alone), held(&cut));
    }

    /// Nobody knows what a broken memory makes of the bytes before they are summed up.
    #[test]
    fn made_up_bytes_are_refused_or_held_and_never_panic(
        words in prop::collection::vec(word(), 0..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        after in prop::collection::vec(word(), 0..40),
    ) {
        let mut rib = Rib::default();
        for word in &words {
            say(&mut rib, word);
        }
        let mut bytes = saved(&rib);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Ok(mut rib) = postcard::from_bytes::<Rib>(&bytes) {
            for word in &after {
                say(&mut rib, word);
            }
            held(&rib);
            saved(&rib);
        }
    }
}

/// Equal sets lie once, as before; nothing is larger for it.
#[test]
fn what_it_costs_is_what_it_cost() {
    let mut rib = Rib::default();
    for number in 1..=4 {
        let id = rib.peer_id(&peer(number));
        announce(&mut rib, id, 0..9_000, 64_510);
        announce(&mut rib, id, 9_000..9_900, u32::from(number));
    }
    let (before, bytes) = (rib.memory(), saved(&rib));
    let after = postcard::from_bytes::<Rib>(&bytes).unwrap().memory();
    assert_eq!((after.routes, after.attribute_sets), (4 * 9_900, 5));
    let all = |m: Memory| m.bytes_columns + m.bytes_prefix_table + m.bytes_attributes;
    assert!(all(after) <= all(before), "{after:?} after {before:?}");
    assert!((bytes.len() as u64) < all(before), "{} of {before:?}", bytes.len());
}
