//! What all pages have: a head, a style for screens of any width and for paper, escaped text.

use crate::text::printable;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;\
margin:1.5em auto;padding:0 1em}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:1.6em}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
td,th{padding:3px 14px 3px 0;text-align:right;white-space:nowrap}th{border-bottom:1px solid #bbb;cursor:pointer}\
td.text,th.text{text-align:left}summary{overflow-wrap:anywhere}\
tr:hover td{background:#f3f4f6}summary{cursor:pointer;margin:.3em 0}\
svg{max-width:100%;height:auto}.charts svg{margin:0 1em 1em 0}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:0}dt{color:#555}dd{margin:0}\
@page{margin:1cm}@media print{body{font-size:10px}tr,svg{break-inside:avoid}h2,summary{break-after:avoid}\
.charts svg{width:47%;margin:0 1% 1% 0}}";

/// A click on a column sorts by it: by the value of `data` elements, else by text.
const SCRIPT: &str = "<script>for(const h of document.querySelectorAll('thead th'))h.onclick=()=>{\
const t=h.closest('table').tBodies[0],i=h.cellIndex,k=c=>{const d=c.querySelector('data');\
return d?+d.value:c.textContent.trim()},d=h.dataset.down=h.dataset.down=='1'?'0':'1',\
s=d=='1'?-1:1;t.append(...[...t.rows].sort((a,b)=>{const x=k(a.cells[i]),y=k(b.cells[i]);\
return s*(typeof x=='number'&&typeof y=='number'?x-y:String(x).localeCompare(String(y),\
undefined,{numeric:true}))}))}</script>\n";

/// A page of HTML that stands alone.
pub(crate) struct Page {
    html: String,
}

impl Page {
    /// A page with nothing but its title.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
             <body>\n<h1>{title}</h1>\n"
        );
        Self { html }
    }

    /// A headline.
    pub fn headline(&mut self, text: &str) {
        let _ = writeln!(self.html, "<h2>{}</h2>", escape(text));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p>{}</p>", escape(text));
    }

    /// Names and what they stand for.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.html.push_str("<dl>\n");
        for (name, value) in facts {
            let _ = writeln!(self.html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
        self.html.push_str("</dl>\n");
    }

    /// Pictures beside one another.
    pub fn charts(&mut self, charts: &[String]) {
        let _ = writeln!(self.html, "<div class=\"charts\">\n{}</div>", charts.concat());
    }

    /// Text and a picture that a click opens; `id` is what links lead to.
    pub fn folded(&mut self, id: &str, summary: &str, lines: &[String], picture: &str) {
        let _ =
            writeln!(self.html, "<details id=\"{id}\"><summary>{}</summary>\n", escape(summary));
        for line in lines {
            let _ = writeln!(self.html, "<p>{}</p>", escape(line));
        }
        let _ = writeln!(self.html, "{picture}</details>");
    }

    /// A table; cells are HTML already.
    pub fn table(&mut self, header: &[(String, Column)], rows: &[Vec<String>]) {
        self.html.push_str("<div class=\"scroll\"><table><thead><tr>");
        for (name, column) in header {
            let _ = write!(self.html, "<th{}>{}</th>", column.class(), escape(name));
        }
        self.html.push_str("</tr></thead><tbody>\n");
        for row in rows {
            self.html.push_str("<tr>");
            for (cell, (_, column)) in row.iter().zip(header) {
                let _ = write!(self.html, "<td{}>{cell}</td>", column.class());
            }
            self.html.push_str("</tr>\n");
        }
        self.html.push_str("</tbody></table></div>\n");
    }

    /// The page.
    pub fn finish(mut self) -> String {
        self.html.push_str(SCRIPT);
        self.html.push_str("</body></html>\n");
        self.html
    }
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Number,
    Text,
}

impl Column {
    fn class(self) -> &'static str {
        match self {
            Self::Number => "",
            Self::Text => " class=\"text\"",
        }
    }
}

/// `text` in its printable form with XML's special characters replaced, and those dropped that XML
/// forbids.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}
