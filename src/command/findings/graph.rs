//! Paths as a tree of text: many paths in, one tree a page wide out, the origin at its root.

use std::collections::BTreeMap;

/// Lines of a tree at most.
const LINES_MAX: usize = 40;

#[derive(Debug, Default)]
struct Node {
    /// Paths that end here: peers.
    ends: usize,
    /// Peers here and further on.
    peers: usize,
    next: BTreeMap<u32, Node>,
}

/// The tree of paths, each told nearest AS first, with one line for each place where they part.
/// Prepends count once.
pub(super) fn tree<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut root = Node::default();
    for path in paths {
        let mut hops: Vec<u32> =
            path.split(|c: char| !c.is_ascii_digit()).filter_map(|asn| asn.parse().ok()).collect();
        hops.dedup();
        let mut node = &mut root;
        for asn in hops.into_iter().rev() {
            node = node.next.entry(asn).or_default();
            node.peers += 1;
        }
        node.ends += 1;
    }
    let mut lines = Vec::new();
    for (asn, node) in by_size(&root) {
        draw(asn, node, "", "", &mut lines);
    }
    if let Some(more) = lines.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more lines"));
    }
    lines
}

/// What follows a node, the way of most peers first.
fn by_size(node: &Node) -> Vec<(u32, &Node)> {
    let mut next: Vec<(u32, &Node)> = node.next.iter().map(|(asn, node)| (*asn, node)).collect();
    next.sort_by_key(|(asn, node)| (usize::MAX - node.peers, *asn));
    next
}

/// One line for a node and all that follow it without parting, then those behind.
fn draw(asn: u32, node: &Node, first: &str, indent: &str, lines: &mut Vec<String>) {
    let (mut label, mut node) = (format!("AS{asn}"), node);
    while let (0, 1, Some((asn, only))) = (node.ends, node.next.len(), node.next.first_key_value())
    {
        label.push_str(&format!(" ─ AS{asn}"));
        node = only;
    }
    let peers = match node.ends {
        0 => String::new(),
        1 => "  (1 peer)".to_owned(),
        several => format!("  ({several} peers)"),
    };
    lines.push(format!("{first}{label}{peers}"));
    let next = by_size(node);
    for (place, (asn, node)) in (1..).zip(&next) {
        let (branch, beside) = if place == next.len() { ("└ ", "  ") } else { ("├ ", "│ ") };
        draw(*asn, node, &format!("{indent}{branch}"), &format!("{indent}{beside}"), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_go_together_are_drawn_once() {
        let paths = [
            "65551 64500 64510",
            "65551 64500 64510 64510",
            "65550 64500 64510",
            "64500 64510",
            "65549 64501 64510",
        ];
        assert_eq!(
            tree(paths.into_iter()),
            [
                "AS64510",
                "├ AS64500  (1 peer)",
                "│ ├ AS65551  (2 peers)",
                "│ └ AS65550  (1 peer)",
                "└ AS64501 ─ AS65549  (1 peer)",
            ]
        );
    }

    #[test]
    fn a_tree_is_a_page_at_most() {
        let paths: Vec<String> = (1..=100).map(|peer| format!("{peer} 64510")).collect();
        let lines = tree(paths.iter().map(String::as_str));
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 61 more lines"));
    }
}
