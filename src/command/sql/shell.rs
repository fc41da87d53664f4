//! The interactive shell: lines in until a `;`, rows out, again.
//!
//! A line that starts with a backslash is for the shell itself. Ctrl-C drops the line or stops the
//! query; Ctrl-D leaves.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use analytics::sql::Lake;
use anyhow::Result;
use arrow::array::AsArray;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::run_text;
use crate::print::{Format, Output, Printer};

const HELP: &str = "\
\\d          tables and views
\\d TABLE    its columns
\\x          one line a column, on or off
\\rows N     rows of a table shown at most; 0: all
\\q          leave
Anything else is SQL up to a semicolon; Tab completes, Ctrl-C cancels.";

const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COPY",
    "CREATE",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "QUALIFY",
    "RIGHT",
    "SELECT",
    "SET",
    "SHOW",
    "TABLE",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Reads and answers until the user leaves. A statement that fails is told and forgotten.
pub(super) async fn run(lake: &Lake, mut printer: Printer, output: &mut Output) -> Result<()> {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words::of(lake).await?));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    eprintln!("peerscope sql; \\? for help, \\d for tables, \\q to leave");
    loop {
        let line = match editor.readline("peerscope> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if line.trim().is_empty() {
            continue;
        }
        editor.add_history_entry(line.as_str())?;
        if let Some(file) = &history {
            let _ = editor.append_history(file);
        }
        match line.trim().strip_prefix('\\') {
            Some("q") => break,
            Some(command) => shell_command(command, lake, &mut printer, output).await,
            None => statement(lake, &line, &printer, output).await,
        }
        if output.is_cut_off() {
            break;
        }
    }
    Ok(())
}

/// Runs SQL and tells how it went.
async fn statement(lake: &Lake, sql: &str, printer: &Printer, output: &mut Output) {
    let started = Instant::now();
    match run_text(lake, sql, printer, output).await {
        Ok(done) => {
            let seconds = started.elapsed().as_secs_f64();
            let shown = printer.rows_max.filter(|_| done.limited);
            match shown {
                Some(rows) => eprintln!("first {rows} rows, {seconds:.3} s; \\rows N shows more"),
                None => eprintln!("{} rows, {seconds:.3} s", done.rows),
            }
        }
        Err(error) => eprintln!("{error:#}"),
    }
}

async fn shell_command(command: &str, lake: &Lake, printer: &mut Printer, output: &mut Output) {
    let table = Printer { format: Format::Table, rows_max: None, expanded: false };
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (name, argument.trim()) {
        ("d", "") => {
            let sql = "SELECT table_name, table_type FROM information_schema.tables \
                       WHERE table_schema = 'public' ORDER BY table_type, table_name";
            statement(lake, sql, &table, output).await;
        }
        ("d", name) => {
            let sql = format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                 WHERE table_name = '{}' ORDER BY ordinal_position",
                name.trim_end_matches(';').replace('\'', "''"),
            );
            statement(lake, &sql, &table, output).await;
        }
        ("x", "") => {
            printer.expanded = !printer.expanded;
            eprintln!("one line a column: {}", if printer.expanded { "on" } else { "off" });
        }
        ("rows", count) => match count.parse::<usize>() {
            Ok(count) => printer.rows_max = Some(count).filter(|count| *count > 0),
            Err(_) => eprintln!("\\rows takes a number, not {count:?}"),
        },
        ("?", _) => eprintln!("{HELP}"),
        _ => eprintln!("no command \\{name}; \\? lists them"),
    }
}

/// `sql_history` in the user's state folder, which is made if need be.
fn history_file() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()?.join(".local/state"),
    };
    let folder = state.join("peerscope");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

/// The words that Tab knows.
struct Words(BTreeSet<String>);

impl Words {
    async fn of(lake: &Lake) -> Result<Self> {
        let mut words: BTreeSet<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
        let sql = "SELECT DISTINCT table_name FROM information_schema.tables UNION ALL \
                   SELECT DISTINCT column_name FROM information_schema.columns \
                   WHERE table_schema = 'public'";
        for batch in lake.query(sql).await?.collect().await? {
            let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
            let names = column.as_string::<i32>();
            words.extend(names.iter().flatten().map(str::to_owned));
        }
        let state = lake.context().state();
        words.extend(state.scalar_functions().keys().cloned());
        words.extend(state.aggregate_functions().keys().cloned());
        words.extend(state.window_functions().keys().cloned());
        Ok(Self(words))
    }

    /// Where the word before `end` starts, and what it may become.
    fn complete(&self, line: &str, end: usize) -> (usize, Vec<String>) {
        let before = line.get(..end).unwrap_or(line);
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let word = before.rsplit(|c: char| !in_word(c)).next().unwrap_or_default();
        let start = before.len() - word.len();
        if word.is_empty() {
            return (start, Vec::new());
        }
        let fits = |known: &&String| {
            known.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
        };
        (start, self.0.iter().filter(fits).cloned().collect())
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        end: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, words) = Self::complete(self, line, end);
        let pair = |word: String| Pair { display: word.clone(), replacement: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Helper for Words {}

/// Whether it ends: empty, a command, or SQL whose last character outside quotes and comments is a
/// semicolon.
fn is_complete(input: &str) -> bool {
    let text = input.trim();
    if text.is_empty() || text.starts_with('\\') {
        return true;
    }
    let mut ended = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                if !chars.any(|other| other == c) {
                    return false;
                }
                ended = false;
            }
            '-' if chars.peek() == Some(&'-') => {
                chars.by_ref().find(|other| *other == '\n');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                chars.next();
                if !chars.any(|other| std::mem::replace(&mut last, other) == '*' && other == '/') {
                    return false;
                }
            }
            c if c.is_whitespace() => {}
            c => ended = c == ';',
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_outside_quotes_and_comments() {
        for complete in [
            "",
            "  ",
            "\\d latency",
            "SELECT 1;",
            "SELECT 1; -- done",
            "SELECT ';' ;\n",
            "SELECT 'it''s';",
            "SELECT 1 /* ; */;",
            "SELECT \"a;b\" FROM t;",
        ] {
            assert!(is_complete(complete), "{complete:?}");
        }
        for open in [
            "SELECT 1",
            "SELECT 1;\nSELECT 2",
            "SELECT ';",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "SELECT 1 /* ; */",
            "SELECT \"a;",
        ] {
            assert!(!is_complete(open), "{open:?}");
        }
    }

    #[test]
    fn tab_completes_the_word_before_it_in_any_case() {
        let words = Words(["SELECT", "sessions", "hdr_merge"].map(str::to_owned).into());
        assert_eq!(words.complete("se", 2), (0, vec!["SELECT".into(), "sessions".into()]));
        assert_eq!(words.complete("SELECT hdr_m", 12), (7, vec!["hdr_merge".to_owned()]));
        assert_eq!(words.complete("SELECT ", 7).1, Vec::<String>::new());
        assert_eq!(words.complete("é.sess", 7), (3, vec!["sessions".to_owned()]));
    }
}
