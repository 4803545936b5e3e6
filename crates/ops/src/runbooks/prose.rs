//! A runbook's Markdown as HTML that can do nothing: no markup of the author's own, no pictures, no addresses that run.
//!
//! Invariant: every `<` of the output is written by the Markdown writer, never taken from the text.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

/// Markdown as HTML.
#[must_use]
pub fn html(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut page = String::new();
    push_html(&mut page, events.map(harmless));
    page
}

fn harmless(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: address(dest_url), title, id })
        }
        // A picture is loaded from elsewhere as soon as the page is opened: what it was to show is told instead.
        Event::Start(Tag::Image { .. }) => Event::Start(Tag::Emphasis),
        Event::End(TagEnd::Image) => Event::End(TagEnd::Emphasis),
        other => other,
    }
}

/// An address that leads to a page, a mailbox or a place here; anything else leads nowhere.
fn address(url: CowStr<'_>) -> CowStr<'_> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    let is_place = |scheme: &str| scheme.contains(['/', '?', '#']);
    match scheme {
        None => url,
        Some(scheme) if is_place(scheme) => url,
        Some(scheme) if ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => url,
        Some(_) => "#".into(),
    }
}

/// A text as HTML shows it, in an element and in a quoted attribute.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_the_text_is_shown_and_not_done() {
        let bad = "<script>alert(1)</script>\n\ntext <img src=x onerror=alert(1)> [a](javascript:alert(1)) \
                   [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) ![d](http://elsewhere/x.png) <javascript:alert(1)>";
        let page = html(bad);
        for forbidden in ["<script", "<img", "javascript:alert(1)\"", "JaVaScRiPt:alert(1)\"", "data:", "elsewhere"] {
            assert!(!page.contains(forbidden), "{forbidden}: {page}");
        }
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }

    #[test]
    fn links_to_pages_stay() {
        for url in ["https://example.org/a:b", "mailto:a@example.org", "/runbooks/x?alert=1:2", "#over"] {
            assert!(html(&format!("[x]({url})")).contains(&format!("href=\"{url}\"")), "{url}");
        }
    }

    #[test]
    fn tables_and_lists_are_written() {
        let page = html("| a | b |\n|---|---|\n| 1 | 2 |\n\n1. one\n2. two\n");
        assert!(page.contains("<td>1</td>") && page.contains("<ol>"), "{page}");
    }
}
