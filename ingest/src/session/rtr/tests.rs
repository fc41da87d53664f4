//! What caches say, and what the session makes of it.

use proptest::prelude::*;
use schemas::bgp::Asn;

use super::*;
use crate::decode::rtr::kind;

fn vrp(number: u32) -> Vrp {
    let prefix = format!("10.{}.{}.0/24", number / 256, number % 256).parse().unwrap();
    Vrp { prefix, asn: Asn(64_510), max_length: 24, expires: None }
}

/// A cache of one version that answers in PDUs.
struct Cache {
    version: u8,
    session: u16,
}

impl Cache {
    fn say(&self, pdus: &[Pdu<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        pdus.iter().for_each(|pdu| encode(&mut bytes, self.version, pdu));
        bytes
    }

    fn answer(&self, serial: u32, changes: &[(bool, u32)]) -> Vec<u8> {
        let Self { version, session } = *self;
        let mut pdus = vec![Pdu::CacheResponse { session }];
        pdus.extend(
            changes.iter().map(|(comes, n)| Pdu::Prefix { is_announced: *comes, vrp: vrp(*n) }),
        );
        let timers = (version > 0).then(Timers::default);
        pdus.push(Pdu::EndOfData { session, serial, timers });
        self.say(&pdus)
    }
}

const CACHE: Cache = Cache { version: 1, session: 7 };

/// What a session was told, and what it sent.
fn feed(session: &mut RtrSession, bytes: &[u8]) -> (Result<bool, RtrError>, Vec<u8>) {
    let mut answer = Vec::new();
    (session.feed(bytes, &mut answer), answer)
}

fn started() -> RtrSession {
    let mut session = RtrSession::default();
    assert_eq!(session.connected(), reset_query(1));
    assert_eq!(feed(&mut session, &CACHE.answer(1, &[(true, 1), (true, 2)])).0, Ok(true));
    session
}

fn held(session: &RtrSession) -> Vec<Vrp> {
    session.vrps().iter().copied().collect()
}

fn reported(answer: &[u8]) -> Option<u16> {
    match decode(answer) {
        Ok((_, Pdu::ErrorReport { code, .. })) => Some(code),
        _ => None,
    }
}

#[test]
fn everything_first_then_what_is_new() {
    let mut session = started();
    assert_eq!((held(&session), session.known()), (vec![vrp(1), vrp(2)], Some((7, 1))));
    let (told, asked) =
        feed(&mut session, &CACHE.say(&[Pdu::SerialNotify { session: 7, serial: 2 }]));
    assert_eq!(told, Ok(false));
    assert_eq!(decode(&asked), Ok((1, Pdu::SerialQuery { session: 7, serial: 1 })));
    let news = CACHE.answer(2, &[(true, 3), (false, 1), (true, 1), (false, 2)]);
    assert_eq!(feed(&mut session, &news).0, Ok(true));
    assert_eq!((held(&session), session.known()), (vec![vrp(1), vrp(3)], Some((7, 2))));
    let same = CACHE.say(&[Pdu::SerialNotify { session: 7, serial: 2 }]);
    assert_eq!(feed(&mut session, &same), (Ok(false), Vec::new()), "that is no news");
}

#[test]
fn nothing_of_an_answer_counts_before_its_end() {
    let mut session = started();
    session.ask();
    let news = CACHE.answer(2, &[(true, 3), (false, 1)]);
    let (most, end) = news.split_at(news.len() - 1);
    for byte in most.chunks(1) {
        assert_eq!(feed(&mut session, byte).0, Ok(false));
        assert_eq!(held(&session), [vrp(1), vrp(2)]);
    }
    assert_eq!(feed(&mut session, end).0, Ok(true));
    assert_eq!(held(&session), [vrp(2), vrp(3)]);
    session.ask();
    feed(&mut session, &CACHE.answer(3, &[(true, 4)])[..40]).0.unwrap();
    session.connected();
    assert_eq!(held(&session), [vrp(2), vrp(3)], "a connection that breaks takes nothing away");
}

#[test]
fn a_cache_that_forgot_is_asked_for_everything() {
    let mut session = started();
    session.ask();
    let (told, asked) = feed(&mut session, &CACHE.say(&[Pdu::CacheReset]));
    assert_eq!((told, asked), (Ok(false), reset_query(1)));
    assert_eq!(held(&session), [vrp(1), vrp(2)], "until the answer is whole");
    assert_eq!(feed(&mut session, &CACHE.answer(9, &[(true, 5)])).0, Ok(true));
    assert_eq!(held(&session), [vrp(5)]);
}

#[test]
fn a_cache_that_began_anew_is_asked_for_everything_on_the_next_connection() {
    let mut session = started();
    let asked = session.connected();
    assert_eq!(decode(&asked), Ok((1, Pdu::SerialQuery { session: 7, serial: 1 })));
    let other = Cache { version: 1, session: 8 };
    let error = feed(&mut session, &other.answer(1, &[(true, 6)])).0.unwrap_err();
    assert_eq!((error.is_retried_at_once(), &error), (true, &RtrError::OtherSession));
    assert_eq!(session.connected(), reset_query(1));
    assert_eq!(feed(&mut session, &other.answer(1, &[(true, 6)])).0, Ok(true));
    assert_eq!(held(&session), [vrp(6)]);
}

/// StayRTR 0.5.1, asked what is new in a session of its predecessor, reports corrupt data.
#[test]
fn a_cache_that_refuses_to_tell_what_is_new_is_asked_for_everything() {
    let mut session = started();
    session.connected();
    let text = b"Session ID mismatch: client is desynchronized";
    let report = Pdu::ErrorReport { code: code::CORRUPT_DATA, about: &[], text };
    let error = feed(&mut session, &CACHE.say(&[report])).0.unwrap_err();
    assert!(matches!(error, RtrError::Refused { .. }) && error.is_retried_at_once(), "{error}");
    assert_eq!(held(&session), [vrp(1), vrp(2)], "until the next whole answer");
    assert_eq!(session.connected(), reset_query(1));
    let error = feed(&mut session, &CACHE.say(&[report])).0.unwrap_err();
    assert!(!error.is_retried_at_once(), "then it is something else: {error}");
}

#[test]
fn an_older_cache_is_spoken_to_in_its_version() {
    let old = Cache { version: 0, session: 3 };
    let mut session = RtrSession::default();
    session.connected();
    assert_eq!(feed(&mut session, &old.answer(1, &[(true, 1)])).0, Ok(true), "it just answers");
    assert_eq!(session.ask()[0], 0);
    let mut session = RtrSession::default();
    session.connected();
    let refusal = Pdu::ErrorReport { code: code::UNSUPPORTED_VERSION, about: &[], text: b"no" };
    assert_eq!(feed(&mut session, &old.say(&[refusal])).0, Err(RtrError::Downgraded));
    assert_eq!(session.connected(), reset_query(0));
    assert_eq!(feed(&mut session, &old.answer(1, &[(true, 1)])).0, Ok(true));
    let newer = Cache { version: 1, session: 3 };
    let (told, answer) =
        feed(&mut session, &newer.say(&[Pdu::SerialNotify { session: 3, serial: 2 }]));
    assert_eq!(told, Err(RtrError::Version { found: 1, expected: 0 }));
    assert_eq!(reported(&answer), Some(code::UNEXPECTED_VERSION));
}

#[test]
fn what_is_against_the_rules_is_reported_and_changes_nothing() {
    let response = Pdu::CacheResponse { session: 7 };
    let comes = |n| Pdu::Prefix { is_announced: true, vrp: vrp(n) };
    let goes = |n| Pdu::Prefix { is_announced: false, vrp: vrp(n) };
    for (pdus, wanted) in [
        (vec![response, comes(1)], code::DUPLICATE_ANNOUNCEMENT),
        (vec![response, comes(3), comes(3)], code::DUPLICATE_ANNOUNCEMENT),
        (vec![response, goes(9)], code::WITHDRAWAL_OF_UNKNOWN),
        (vec![response, goes(1), goes(1)], code::WITHDRAWAL_OF_UNKNOWN),
        (vec![comes(3)], code::CORRUPT_DATA),
        (vec![response, response], code::CORRUPT_DATA),
        (
            vec![Pdu::EndOfData { session: 7, serial: 2, timers: Some(Timers::default()) }],
            code::CORRUPT_DATA,
        ),
        (vec![Pdu::ResetQuery], code::CORRUPT_DATA),
    ] {
        let mut session = started();
        session.ask();
        let (told, answer) = feed(&mut session, &CACHE.say(&pdus));
        assert!(told.is_err(), "{pdus:?}");
        assert_eq!(reported(&answer), Some(wanted), "{pdus:?}");
        assert_eq!(held(&session), [vrp(1), vrp(2)]);
    }
    let mut session = started();
    let (told, answer) = feed(&mut session, &[1, kind::CACHE_RESET, 0, 0, 0xff, 0, 0, 0]);
    assert!(matches!(told, Err(RtrError::Malformed(_))), "{told:?}");
    assert_eq!(reported(&answer), Some(code::CORRUPT_DATA));
}

#[test]
fn reports_of_the_cache_are_told_and_never_answered() {
    let report = |code| Pdu::ErrorReport { code, about: b"", text: b"broken\n" };
    let mut session = started();
    let (told, answer) = feed(&mut session, &CACHE.say(&[report(code::INTERNAL_ERROR)]));
    let told = told.unwrap_err();
    assert_eq!(told.to_string(), "the cache reports error 1: broken ");
    assert!(answer.is_empty() && !told.is_retried_at_once());
    let (told, _) = feed(&mut session, &CACHE.say(&[report(code::NO_DATA_AVAILABLE)]));
    assert_eq!(told, Err(RtrError::NoData));
    let keys = CACHE.say(&[Pdu::RouterKey, Pdu::Unknown { kind: 11 }]);
    assert_eq!(feed(&mut started(), &keys).0, Ok(false), "keys and newer types are passed over");
}

proptest! {
    /// However the bytes are cut, the same is held; and never more than was announced.
    #[test]
    fn cuts_do_not_matter(changes in prop::collection::vec((any::<bool>(), 0..8_u32), 0..30), cut in 1..50_usize) {
        let bytes = CACHE.answer(1, &changes);
        let mut whole = RtrSession::default();
        whole.connected();
        let told = feed(&mut whole, &bytes).0;
        let mut pieces = RtrSession::default();
        pieces.connected();
        let fed: Result<Vec<bool>, RtrError> =
            bytes.chunks(cut).map(|piece| feed(&mut pieces, piece).0).collect();
        prop_assert_eq!(fed.is_ok(), told.is_ok());
        prop_assert_eq!(held(&whole), held(&pieces));
    }

    #[test]
    fn any_bytes_leave_a_session_that_can_begin_anew(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut session = started();
        let _ = feed(&mut session, &bytes);
        session.connected();
        let mut fresh = RtrSession::default();
        fresh.connected();
        prop_assert_eq!(feed(&mut fresh, &CACHE.answer(1, &[(true, 1)])).0, Ok(true));
    }
}
