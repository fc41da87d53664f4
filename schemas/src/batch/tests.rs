//! Runs and offsets.

use super::*;

#[test]
fn records_of_one_kind_and_time_are_one_run_and_keep_their_offsets() {
    let mut batch = EventBatch::starting(0, 7, false);
    let (now, later) = (Timestamp(1), Timestamp(2));
    batch.append(now, Content::Route(0));
    batch.append(now, Content::Route(1));
    batch.append(now, Content::Control(0));
    batch.append(later, Content::Route(2));
    batch.append_run(Run { log_time: later, first: Content::Route(3), count: 4 });
    let runs: Vec<_> = batch.runs().iter().map(|run| (run.first, run.count)).collect();
    assert_eq!(runs, [(Content::Route(0), 2), (Content::Control(0), 1), (Content::Route(2), 5)]);
    assert_eq!((batch.end_offset(), batch.log_times()), (15, Some((now, later))));
    let next = batch.following();
    assert_eq!((next.first_offset, next.len(), next.runs()), (15, 0, &[][..]));
}

#[test]
fn elements_of_one_message_are_the_same_rows_at_once_or_one_by_one() {
    let prefixes = ["192.0.2.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap());
    let (mut at_once, mut one_by_one) = (EventBatch::default(), EventBatch::default());
    at_once.append_routes(Timestamp(1), 7, true, |routes| {
        for prefix in prefixes {
            routes.action.push(Action::Announce);
            routes.prefix.push(prefix);
            routes.path_id.push(Some(3));
        }
    });
    for prefix in prefixes {
        let (message, action, path_id) = (7, Action::Announce, Some(3));
        let route = RouteEvent { message, action, prefix, path_id, writes: true };
        let row = one_by_one.routes.push(route);
        one_by_one.append(Timestamp(1), Content::Route(row));
    }
    assert_eq!(at_once.routes, one_by_one.routes);
    assert_eq!((at_once.runs(), at_once.len()), (one_by_one.runs(), 2));
}
