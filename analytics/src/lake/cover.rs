//! The coverage rule: which files of a table count while a compaction replaces some of them.
//!
//! A compacted file answers for a range of its chain (log, partition); until the files that it was
//! made of are deleted, both are there. Sorted by (start, longest first), a file that starts before
//! the end of what is covered already is garbage. A plain file covers nothing: no other one starts
//! within it, because a chain's files do not overlap.

use super::layout::FileName;

/// Files of one table, parted by whether they count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover<T> {
    /// Files whose rows count, in the order of their chains.
    pub live: Vec<(FileName, T)>,
    /// Files that a compacted one stands for.
    pub garbage: Vec<(FileName, T)>,
}

/// Applies the rule to the files of one table.
#[must_use]
pub fn cover<T>(files: impl IntoIterator<Item = (FileName, T)>) -> Cover<T> {
    let mut files: Vec<(FileName, T)> = files.into_iter().collect();
    let end = |name: &FileName| name.end.unwrap_or(name.start);
    files.sort_by(|(left, _), (right, _)| {
        (&left.log, left.partition, left.start, std::cmp::Reverse(end(left))).cmp(&(
            &right.log,
            right.partition,
            right.start,
            std::cmp::Reverse(end(right)),
        ))
    });
    let mut cover = Cover { live: Vec::new(), garbage: Vec::new() };
    let mut chain: Option<(String, u32, u64)> = None;
    for (name, file) in files {
        let covered = match &mut chain {
            Some((log, partition, covered)) if *log == name.log && *partition == name.partition => {
                covered
            }
            other => &mut other.insert((name.log.clone(), name.partition, 0)).2,
        };
        if name.start < *covered {
            cover.garbage.push((name, file));
        } else {
            *covered = (*covered).max(end(&name));
            cover.live.push((name, file));
        }
    }
    cover
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parted(files: &[(&str, u32, u64, Option<u64>)]) -> (Vec<usize>, Vec<usize>) {
        let named = files.iter().enumerate().map(|(number, (log, partition, start, end))| {
            let log = (*log).to_owned();
            (FileName { log, partition: *partition, start: *start, end: *end }, number)
        });
        let Cover { live, garbage } = cover(named);
        let numbers = |files: Vec<(FileName, usize)>| files.into_iter().map(|(_, n)| n).collect();
        (numbers(live), numbers(garbage))
    }

    #[test]
    fn plain_files_all_count() {
        let files = [("a", 0, 0, None), ("a", 0, 5, None), ("a", 1, 0, None), ("b", 0, 3, None)];
        assert_eq!(parted(&files), (vec![0, 1, 2, 3], vec![]));
    }

    #[test]
    fn a_compacted_file_stands_for_what_starts_within_it() {
        let files = [
            ("a", 0, 0, None),
            ("a", 0, 5, None),
            ("a", 0, 0, Some(9)),
            ("a", 0, 9, None),
            ("a", 1, 5, None),
            ("b", 0, 5, None),
        ];
        assert_eq!(parted(&files), (vec![2, 3, 4, 5], vec![0, 1]));
    }

    #[test]
    fn of_two_compacted_files_the_longer_one_counts() {
        let files = [("a", 0, 0, Some(5)), ("a", 0, 0, Some(9)), ("a", 0, 5, Some(9))];
        assert_eq!(parted(&files), (vec![1], vec![0, 2]));
        let next = [("a", 0, 0, Some(5)), ("a", 0, 5, Some(9)), ("a", 0, 0, None)];
        assert_eq!(parted(&next), (vec![0, 1], vec![2]));
    }
}
