//! Cuts: whatever is said, a fold that is saved and restored between two words says the same as one
//! that is left alone, and is the same bytes.
//!
//! `PEERSCOPE_STATE_CUTS` says how many cuts are made at least; 300 in an ordinary run.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::twins::Twins;
use super::world::{RELATIONSHIPS, Word, World, words};
use super::*;
use crate::reference::AsRelationships;
use crate::reference::geo::edges::Edges;

fn reference() -> Arc<Reference> {
    let relationships = AsRelationships::read(RELATIONSHIPS.as_bytes()).unwrap();
    let mut reference = Reference { relationships: relationships.into(), ..Reference::default() };
    let edges =
        "edge_id,metro,latitude,longitude,communities,next_hops\nsea01,Seattle,47.6,-122.3,,\n";
    reference.geo.edges = Edges::read(edges.as_bytes()).unwrap().into();
    Arc::new(reference)
}

/// Says everything to twins; one is cut between batches wherever `cuts` says so.
fn twins(words: &[Word], partitions: u32, is_live: bool, cuts: impl Fn(usize) -> bool) -> Twins {
    let mut world = World::new(partitions, is_live);
    let mut twins = Twins::new(partitions, &FoldOptions::default(), &reference());
    twins.cut();
    twins.apply(&world.begin());
    let mut number = 0;
    for word in words {
        for batches in world.say(word) {
            number += 1;
            if cuts(number) {
                twins.cut();
            }
            twins.apply(&batches);
        }
    }
    twins.finish();
    twins.cut();
    twins
}

#[test]
fn a_fold_goes_on_from_its_bytes_as_if_nothing_had_been() {
    let wanted = std::env::var("PEERSCOPE_STATE_CUTS").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(300);
    let (made, told) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
    let config = || Config { cases: 8, failure_persistence: None, ..Config::default() };
    let strategy = (words(60), prop_oneof![Just(1_u32), Just(3)], any::<bool>(), 1..9_usize);
    while made.get() < wanted {
        TestRunner::new(config())
            .run(&strategy, |(words, partitions, is_live, every)| {
                let twins = twins(&words, partitions, is_live, |number| number % every == 0);
                made.set(made.get() + twins.cuts);
                let rules = twins.told.iter().map(|numbered| numbered.finding.rule);
                told.borrow_mut().extend(rules);
                Ok(())
            })
            .unwrap();
    }
    let rules: std::collections::BTreeSet<_> = told.borrow().iter().copied().collect();
    assert!(rules.len() >= 3, "the words tell too little: {rules:?}");
}
