//! Marks: what people say of findings, put beside the folds that own the rest of a lake.
//!
//! Each finding has a chain of its own (`marks`, finding, number of the mark): create-if-absent
//! decides between two who mark at once, and no lock is taken, so that a running service is not in
//! the way: `docs/decisions/0024-marks.md`.

use schemas::tables::{self, MarkRow};
use schemas::time::Timestamp;

use super::LakeError;
use super::encode::{Span, encode};
use super::layout::file_key;
use super::store::Store;

/// Puts a mark behind those that its finding has. The file lies under the day of the finding's
/// opening.
///
/// # Errors
/// [`LakeError::Differs`] if another mark took its number meanwhile.
pub fn put(store: &Store, mark: &MarkRow, opened_at: Timestamp) -> Result<(), LakeError> {
    let (table, end) = (tables::MARKS, u64::from(mark.mark));
    let start = end.saturating_sub(1);
    let span = Span { log: mark.finding_id.to_string(), partition: 0, start, end };
    let bytes = encode(std::slice::from_ref(mark), &table.schema(), &span)
        .map_err(|error| LakeError::Encode { table: table.name, error })?;
    let key = file_key(table.name, &span.log, span.partition, start, opened_at);
    store.put(&key, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_goes_beside_a_writer_and_its_number_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("lake");
        let url = url.to_str().unwrap();
        let refused = Store::beside(url);
        assert!(matches!(refused, Err(LakeError::Missing { .. })), "marks make no lake");
        let _writer = Store::open(url).unwrap();
        let store = Store::beside(url).unwrap();
        let mark = MarkRow {
            finding_id: "00112233445566778899aabbccddeeff".into(),
            mark: 1,
            time: Timestamp::from_secs(7),
            tenant: None,
            connection: None,
            verdict: "false_positive",
            learned: false,
            note: None,
        };
        put(&store, &mark, Timestamp::from_secs(1)).unwrap();
        let other = MarkRow { verdict: "true_positive", ..mark.clone() };
        let late = put(&store, &other, Timestamp::from_secs(1));
        assert!(matches!(late, Err(LakeError::Differs { .. })));
        put(&store, &MarkRow { mark: 2, ..other }, Timestamp::from_secs(1)).unwrap();
        store.sweep().unwrap();
        assert_eq!(store.list("marks/date=1970-01-01").unwrap().len(), 2);
        assert_eq!(store.list("_peerscope").unwrap(), Vec::<String>::new());
    }
}
