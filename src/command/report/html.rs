//! The report as one file of HTML: the Markdown rendered, the plots in its text.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::File;

/// Nothing is loaded from anywhere.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24}h1,h2,h3{line-height:1.25}table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:\
tabular-nums}th,td{border-bottom:1px solid #d0d7de;padding:.25rem .7rem;text-align:left}svg{max-width:100%;\
height:auto}code{background:#f3f4f6;padding:0 .2rem}";

/// A page of HTML.
pub(super) fn page(title: &str, markdown: &str, plots: &[File]) -> String {
    let mut in_image = false;
    let events =
        Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                in_image = true;
                let plot = plots.iter().find(|plot| plot.name == *dest_url)?;
                Some(Event::Html(CowStr::Borrowed(&plot.text)))
            }
            Event::End(TagEnd::Image) => {
                in_image = false;
                None
            }
            // The text in place of an image that cannot be shown.
            _ if in_image => None,
            other => Some(other),
        });
    let mut body = String::new();
    html::push_html(&mut body, events);
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_stand_in_the_text_and_names_are_escaped() {
        let plots = [File { name: "a.svg".to_owned(), text: "<svg>1</svg>".to_owned() }];
        let page = page("a<b & c", "# T\n\n![round trips](a.svg)\n\n|x|\n|-|\n|1|\n", &plots);
        assert!(page.contains("<svg>1</svg>") && !page.contains("round trips"), "{page}");
        assert!(page.contains("<title>a&lt;b &amp; c</title>") && page.contains("<td>1</td>"));
    }
}
