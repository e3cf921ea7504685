//! The one place where foreign text becomes part of a page or a picture.

/// Text between tags or in a quoted attribute, of HTML and of SVG. Characters that XML forbids and
/// those that reorder text are shown as a question mark.
pub(in crate::render) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(one),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                escaped.push('?');
            }
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            one if one.is_control() => escaped.push('?'),
            one => escaped.push(one),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_opens_no_tag_and_ends_no_attribute() {
        let text = "<script>\u{0}&\"'\u{202e}\u{1b}[1m\r\n";
        let shown = "&lt;script&gt;?&amp;&quot;&#39;??[1m?\n";
        assert_eq!(escaped(text), shown);
    }
}
