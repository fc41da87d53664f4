//! Rust text: what is code in it, where its functions end, which words it names.
//!
//! A comment or a literal is blanked, never removed, so that lines keep their numbers.

#[test]
fn a_word_in_a_comment_or_a_literal_is_not_code() {
    let text =
        "a /* tokio */ b // tokio\n'\\'' \"tokio \\\" tokio\" r#\"tokio \" tokio\"# '\"' c::<'x>()";
    let code = code_of(text);
    assert!(!names(&code, "tokio"), "{code}");
    assert!(["a", "b", "c"].iter().all(|word| names(&code, word)), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn a_name_is_found_whole_or_not_at_all() {
    assert!(names("use std::{fs::File};", "fs::") && names("std::fs;", "std::fs"));
    assert!(!names("let instant = Instantly;", "Instant") && !names("eprintln!()", "println!"));
}

#[test]
fn a_test_item_is_not_shipped_and_keeps_its_lines() {
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { tokio }\n}\nfn c() {}\n";
    let shipped = without_tests(code);
    assert_eq!(functions(&shipped).iter().map(|f| f.line).collect::<Vec<_>>(), [1, 6]);
    assert!(!names(&shipped, "tokio"));
}

#[test]
fn a_function_is_counted_from_its_name_to_its_last_brace() {
    let found = functions("fn a(x: [u8; 2]) -> fn(u8)\n{\n  {}\n}\ntrait T { fn b(); }");
    let counted: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(counted, [("a", 1, 4), ("b", 5, 1)]);
}

/// Does the text hold the word, whole? A word that ends in a sign needs no boundary there.
pub(crate) fn names(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let (before, rest) = text.split_at(start);
        let (_, after) = rest.split_at(word.len());
        let joins = |end: Option<char>, next: Option<char>| {
            end.is_some_and(is_word) && next.is_some_and(is_word)
        };
        !joins(word.chars().next(), before.chars().next_back())
            && !joins(word.chars().next_back(), after.chars().next())
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// One `fn`: its name, its first line, and its lines from there to the closing brace.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function of the code, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        let (before, item) = code.split_at(start);
        let name: String = item.chars().skip("fn ".len()).take_while(|c| is_word(*c)).collect();
        if !name.is_empty() && !before.ends_with(is_word) {
            let (item, _) = item.split_at(item_bytes(item));
            let line = before.matches('\n').count() + 1;
            found.push(Function { name, line, lines: item.lines().count() });
        }
    }
    found
}

/// The code with every `#[cfg(test)]` item blanked.
pub(crate) fn without_tests(code: &str) -> String {
    let mut shipped = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(start);
        let (test, after) = item.split_at(item_bytes(item));
        shipped.push_str(before);
        shipped.extend(test.chars().map(blank));
        rest = after;
    }
    shipped + rest
}

/// How long the item at the start is: to its `;`, or to the brace that closes its body.
fn item_bytes(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, sign) in code.char_indices() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(sign, ';' | '}') {
            return at + 1;
        }
    }
    code.len()
}

/// The text with comments and literals blanked; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment_bytes(rest)
            .or_else(|| raw_string_bytes(rest).filter(|_| !code.ends_with(is_word)))
            .or_else(|| literal_bytes(rest));
        let (taken, after) = rest.split_at(skipped.unwrap_or(first.len_utf8()));
        match skipped {
            Some(_) => code.extend(taken.chars().map(blank)),
            None => code.push(first),
        }
        rest = after;
    }
    code
}

fn blank(letter: char) -> char {
    if letter == '\n' { '\n' } else { ' ' }
}

fn comment_bytes(rest: &str) -> Option<usize> {
    let end = |mark: &str, bytes: usize| rest.find(mark).map_or(rest.len(), |at| at + bytes);
    match rest {
        _ if rest.starts_with("//") => Some(end("\n", 0)),
        _ if rest.starts_with("/*") => Some(end("*/", 2)),
        _ => None,
    }
}

fn raw_string_bytes(rest: &str) -> Option<usize> {
    let opened = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let body = opened.trim_start_matches('#').strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let body_bytes = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(rest.len() - body.len() + body_bytes)
}

/// A string or a character; a lifetime is neither.
fn literal_bytes(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices();
    let (_, quote) = letters.next().filter(|(_, first)| matches!(first, '"' | '\''))?;
    let is_lifetime = !rest.starts_with("'\\") && rest.chars().nth(2) != Some('\'');
    if quote == '\'' && is_lifetime {
        return None;
    }
    let mut escaped = false;
    for (at, letter) in letters {
        if letter == quote && !escaped {
            return Some(at + 1);
        }
        escaped = letter == '\\' && !escaped;
    }
    Some(rest.len())
}
