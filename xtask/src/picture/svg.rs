//! A terminal as an SVG: what was printed, as it stands there at the end. No script and no font of its own, so that it is
//! shown wherever a picture is.

use std::fmt::Write as _;

use super::recording::{COLUMNS, Recording};

const CHARACTER_WIDTH: f64 = 7.8;
const LINE_HEIGHT: f64 = 18.0;
const MARGIN: f64 = 16.0;
const BAR_HEIGHT: f64 = 30.0;
/// What a longer line ends with.
const CUT: char = '…';

const COMMAND: &str = "#f2f4f8";
const PLAIN: &str = "#c1c7cd";
const NOTE: &str = "#8d939b";
const ADDED: &str = "#6fdc8c";
const REMOVED: &str = "#ff8389";
const HUNK: &str = "#82cfff";

/// Draws a recording.
pub(super) fn draw(recording: &Recording) -> String {
    let text = recording.text();
    let lines: Vec<&str> = text.lines().collect();
    let width = MARGIN * 2.0 + to_f64(COLUMNS) * CHARACTER_WIDTH;
    let height = BAR_HEIGHT + MARGIN * 1.5 + to_f64(lines.len()) * LINE_HEIGHT;
    let title = escape(&recording.title);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="{width}" height="{height}" rx="8" fill="#161a20"/>
<g fill="#3a414b"><circle cx="18" cy="15" r="5"/><circle cx="36" cy="15" r="5"/><circle cx="54" cy="15" r="5"/></g>
<text x="{middle}" y="19" fill="{NOTE}" font-family="sans-serif" font-size="12" text-anchor="middle">{title}</text>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" xml:space="preserve">
"##,
        middle = width / 2.0,
    );
    for (row, line) in lines.iter().enumerate() {
        let y = BAR_HEIGHT + MARGIN + to_f64(row) * LINE_HEIGHT;
        let line = fitting(line);
        if line.trim().is_empty() {
            continue;
        }
        // The width is said too: whatever font is there, columns stay columns.
        let length = to_f64(line.chars().count()) * CHARACTER_WIDTH;
        let weight = if line.starts_with("$ ") { r#" font-weight="bold""# } else { "" };
        // Writing to a string does not fail.
        let _written = writeln!(
            svg,
            r#"<text x="{MARGIN}" y="{y}" fill="{}"{weight} textLength="{length:.1}" lengthAdjust="spacingAndGlyphs">{}</text>"#,
            colour(&line),
            escape(&line),
        );
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Commands stand out, what `pyro` says of itself stands back, differences have their usual colours.
fn colour(line: &str) -> &'static str {
    if line.starts_with("$ ") {
        COMMAND
    } else if line.starts_with('[') {
        NOTE
    } else if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") {
        PLAIN
    } else if line.starts_with('+') {
        ADDED
    } else if line.starts_with('-') {
        REMOVED
    } else if line.starts_with("@@") {
        HUNK
    } else {
        PLAIN
    }
}

fn fitting(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    line.chars().take(COLUMNS - 1).chain([CUT]).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("    "),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[expect(clippy::cast_precision_loss, reason = "rows and columns of a screen")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::recording::Event;
    use super::*;

    #[test]
    fn what_was_printed_is_text_and_never_markup() {
        let text = "$ diff <a> & \"b\"\r\n+added\r\n-gone\r\n\u{1b}[0m\r\n".to_owned() + &"x".repeat(200);
        let recording = Recording { title: "a < b".into(), events: vec![Event { seconds: 0.0, text }] };
        let svg = draw(&recording);
        assert!(svg.contains("<title>a &lt; b</title>"));
        assert!(svg.contains("$ diff &lt;a&gt; &amp; &quot;b&quot;</text>"));
        assert!(svg.contains(&format!("fill=\"{ADDED}\"")) && svg.contains(&format!("fill=\"{REMOVED}\"")));
        assert!(!svg.contains('\u{1b}'));
        assert!(svg.contains(&format!("{}…</text>", "x".repeat(COLUMNS - 1))));
    }
}
