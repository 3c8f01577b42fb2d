//! The files of the page, which are part of the program.

/// Content type and text of a file of the page.
pub(super) fn find(path: &str) -> Option<(&'static str, &'static str)> {
    const HTML: &str = "text/html; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const JS: &str = "text/javascript; charset=utf-8";
    Some(match path {
        "/" => (HTML, include_str!("page/index.html")),
        "/style.css" => (CSS, include_str!("page/style.css")),
        "/app.js" => (JS, include_str!("page/app.js")),
        "/dom.js" => (JS, include_str!("page/dom.js")),
        "/curves.js" => (JS, include_str!("page/curves.js")),
        "/runs.js" => (JS, include_str!("page/runs.js")),
        "/run.js" => (JS, include_str!("page/run.js")),
        "/play.js" => (JS, include_str!("page/play.js")),
        "/images.js" => (JS, include_str!("page/images.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    })
}
