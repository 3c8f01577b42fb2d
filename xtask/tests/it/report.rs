//! Reports of complete, unfinished and damaged runs.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use png::ColorType;
use serde_json::json;

use crate::{Place, text};

const CURVES: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"curves\" \
                      viewBox=\"0 0 8 8\"><text>Losses</text></svg>\n";

/// A run whose name and data contain special characters of HTML.
const RUN: &str = "runs/00003-idx-a<b>&c-tiny";

impl Place {
    fn run_of(&self, run: &str) {
        self.grey_frames(run, &[0, 50, 100]);
        self.write(&format!("{run}/curves.svg"), CURVES);
        let config = json!({
            "recipe": "tiny", "recipe_file": "tiny.toml", "dataset": "idx:a<b>&c", "classes": ["3", "5"], "steps": 100,
            "seed": 7, "generator_adam": { "lr": 0.001 }, "discriminator_adam": { "lr": 0.002 },
            "generator": { "latent_dim": 64, "layers": [{ "conv": { "channels": 3 } }, "tanh"] }
        });
        self.write(&format!("{run}/config.json"), config.to_string());
        let line = |step: u64, distance: f64| {
            let quality = json!({ "images": 2000, "fd-mnistnet-2k": distance, "collapse": null });
            let line = json!({ "step": step, "generator_loss": 0.71823, "quality": quality });
            format!("{line}\n")
        };
        let unmeasured = "{\"step\":75,\"generator_loss\":0.5}\n";
        let stats = [&line(50, 31.26), unmeasured, &line(100, 44.0)].concat();
        self.write(&format!("{run}/stats.jsonl"), stats);
    }

    fn page(&self, name: &str) -> String {
        text(&fs::read(self.path(name)).unwrap())
    }
}

/// What the data URIs of a page's images hold.
fn images(page: &str) -> Vec<(&str, Vec<u8>)> {
    let uris = page.split(" src=\"data:").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    uris.map(|uri| {
        let (media_type, data) = uri.split_once(";base64,").unwrap();
        (media_type, STANDARD.decode(data).unwrap())
    })
    .collect()
}

/// Nothing that a browser would fetch or run.
fn assert_alone(page: &str) {
    for other in ["://", "<script", "<link", "<iframe", "@import", "url("] {
        assert!(!page.contains(other), "{other} in {page}");
    }
    assert_eq!(page.matches(" src=\"").count(), page.matches(" src=\"data:image/").count());
    assert_eq!(page.matches(" href=").count(), 0);
    for tag in ["section", "table", "tr", "td", "th", "figure", "details", "dl", "ul", "ol", "li"] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag} in {page}");
    }
}

#[test]
fn a_report_holds_the_run() {
    let place = Place::new();
    place.run_of(RUN);
    let line = place.succeed("report");
    let page = place.page(&format!("{RUN}/report.html"));
    assert_eq!(line.replace('\\', "/"), format!("{RUN}/report.html: {} bytes\n", page.len()));
    assert_alone(&page);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("a<b>") && !page.contains("Left out"));
    for part in [
        "<title>00003-idx-a&lt;b&gt;&amp;c-tiny</title>",
        "recipe tiny · dataset idx:a&lt;b&gt;&amp;c · classes 3, 5 · 100 steps",
        // The last line, rounded; the best step; every measured line.
        "<dt>generator loss</dt><dd>0.718</dd><dd class=\"meaning\">the generator's loss; neither loss",
        "Smallest fd-mnistnet-2k: 31.3 at step 50.",
        "<tr><th>step</th><th>fd-mnistnet-2k</th><th>generator loss</th></tr>",
        "<tr class=\"best\"><td>50</td><td>31.3</td><td>0.718</td></tr>",
        "<tr><td>100</td><td>44.0</td><td>0.718</td></tr>",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ",
        "<tr><th>seed</th><td>7</td></tr>",
        "<summary>latent dim, layers</summary>",
        "<li> conv channels 3</li>",
        "cargo run -p trainer -- --recipe tiny.toml \\\n  --class 3,5 \\\n  \
         --dataset 'idx:a&lt;b&gt;&amp;c' \\\n  --steps 100 \\\n  --seed 7 \\\n  --lr 0.001 0.002",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("<td>75</td>"), "not measured at step 75");

    let images = images(&page);
    let sample = |step: &str| fs::read(place.path(&format!("{RUN}/samples/{step}.png"))).unwrap();
    // No other grid is like the last one.
    assert_eq!(images[0], ("image/png", sample("000100")));
    place.succeed("gif --out animation.png");
    assert_eq!(images[1], ("image/png", fs::read(place.path("animation.png")).unwrap()));
    assert_eq!(images[2], ("image/svg+xml", CURVES.as_bytes().to_vec()));
    assert_eq!(images.len(), 3);
}

/// The first grids of a run are grey, but for the black between the images; real images stand beside the last one; the figures of real images
/// beside those of `evaluate`.
#[test]
fn a_report_speaks_for_itself() {
    let place = Place::new();
    place.run_of("run");
    let grey = |name: &str, value| {
        place.image(&format!("run/{name}"), (5, 4), ColorType::Grayscale, &[value; 20]);
    };
    let mut grid = [127; 20];
    grid[10] = 0;
    place.image("run/samples/000000.png", (5, 4), ColorType::Grayscale, &grid);
    // Almost the last one.
    let mut near: Vec<u8> = (0..20).map(|i| (100 * 7 + i * 13) as u8).collect();
    (near[0], near[1]) = (9, 9);
    place.image("run/samples/000075.png", (5, 4), ColorType::Grayscale, &near);
    grey("real.png", 200);
    let column = |images: u64, distance: f64| {
        let metrics = json!({ format!("fd-r64-{images}"): distance, "class-accuracy": null });
        json!({ "images": images, "metrics": metrics })
    };
    let evaluation =
        json!({ "of": "/home/me/x", "generated": column(500, 7.125), "real": column(90, 3.5) });
    place.write("run/evaluation.json", evaluation.to_string());
    let config = json!({ "recipe": "tiny", "dataset": "folder:/home/me/icons", "steps": 100 });
    place.write("run/config.json", config.to_string());
    fs::remove_file(place.path("run/curves.svg")).unwrap();
    let run = place.path("run").display().to_string();
    place.succeed(&format!("report --run {run}/"));
    let page = place.page("run/report.html");
    assert_alone(&page);
    let images = images(&page);
    let file = |name: &str| fs::read(place.path(&format!("run/{name}"))).unwrap();
    let want = ["samples/000100.png", "real.png", "samples/000075.png"].map(file);
    assert_eq!([0, 1, 2].map(|at| images[at].1.clone()), want);
    for part in [
        "<figcaption>generated images, step 100</figcaption>",
        "<figcaption>real images, to compare with</figcaption>",
        "<th>generated (500 images)</th><th>real (90 images)</th>",
        "<td>fd-r64-500<div class=\"meaning\">Frechet distance of",
        "0 is best</div></td><td>7.12</td><td>3.50</td>",
        "dataset folder:icons",
        "<li>curves.svg: ",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(page.find("<h2>Images") < page.find("<h2>Evaluation"), "samples first");
    assert!(page.find("<h2>Evaluation") < page.find("<h2>Final statistics"));
    assert!(!page.contains("/home/me") && !page.contains(&run), "{page}");
}

/// Markup in every place of a run that a page shows: all of it is text or inside an image.
#[test]
fn markup_in_a_run_is_text() {
    let place = Place::new();
    let markup = "\"'><ScRiPt>document.title='x'</sCrIpT><img src=x onerror=y>";
    let run = "run";
    place.run_of(run);
    let config = json!({
        "recipe": markup, "dataset": markup, "classes": [markup], "steps": markup,
        "generator_adam": { "lr": markup }, "discriminator_adam": { "lr": markup },
        markup: markup, "nested": { markup: [{ markup: [markup] }, [[markup]]] }
    });
    place.write("run/config.json", config.to_string());
    let line = json!({
        "step": 50, "epoch": markup, "generator_loss": [markup], markup: markup,
        "updates": { markup: markup },
        "quality": { format!("fd-{markup}"): 1.5, "collapse": markup, markup: markup }
    });
    let odd_step = json!({ "step": markup, "quality": { "fd-x": 0.5 } });
    place.write("run/stats.jsonl", format!("{line}\n{odd_step}\n"));
    let curves = format!("<svg onload=\"y\"></svg>{markup}<svg></svg>\n");
    place.write("run/curves.svg", &curves);
    let said = place.succeed("report --run run");
    assert!(said.contains("left out: run/stats.jsonl: damaged lines: 1"), "{said}");
    let page = place.page("run/report.html");
    assert_alone(&page.to_lowercase());
    assert!(!page.contains("<img src=x") && !page.contains("<svg"), "{page}");
    assert_eq!(images(&page)[2], ("image/svg+xml", curves.into_bytes()));
    let text = "\"'><ScRiPt>".replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.matches(&text).count() >= 20, "{}", page.matches(&text).count());
}

#[test]
fn a_report_of_colours_has_a_gif() {
    let place = Place::new();
    for step in [0, 1] {
        let name = format!("run/samples/{step}.png");
        place.image(&name, (2, 1), ColorType::Rgb, &[step, 2, 3, 4, 5, 6]);
    }
    place.succeed("report --run run --out page.html");
    place.succeed("gif --run run");
    let page = place.page("page.html");
    let animation = fs::read(place.path("run/training.gif")).unwrap();
    assert_eq!(images(&page)[2], ("image/gif", animation));
    assert!(!place.path("run/report.html").exists());
}

/// Thousands of large frames: every n-th of them.
#[test]
fn a_report_of_many_frames_stays_small() {
    let place = Place::new();
    let mut noise = 1_u32;
    for step in 0..40 {
        let pixels: Vec<u8> = (0..600 * 600)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        place.image(&format!("run/samples/{step}.png"), (600, 600), ColorType::Grayscale, &pixels);
    }
    place.succeed("report --run run");
    let page = place.page("run/report.html");
    assert!((1 << 20..10 << 20).contains(&page.len()), "{}", page.len());
    assert!(page.contains("animation of 14 of 40 grids"), "{:?}", page.find("animation of"));
}

/// A run just begun: a configuration, one grid, no statistics.
#[test]
fn an_unfinished_run_has_a_report_of_what_is_there() {
    let place = Place::new();
    place.run_of("run");
    for name in ["stats.jsonl", "curves.svg", "samples/000050.png", "samples/000100.png"] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    let line = place.succeed("report --run run").replace('\\', "/");
    assert!(line.contains("; left out: run/stats.jsonl: No such file"), "{line}");
    assert_eq!(line.lines().count(), 1);
    let page = place.page("run/report.html");
    assert_alone(&page);
    assert!(page.contains("unfinished: step 0 of 100"), "{page}");
    assert!(page.contains("<li>stats.jsonl: No such file"), "{page}");
    assert_eq!(images(&page).len(), 1);
    for title in ["Curves", "Metrics during training", "Final statistics"] {
        assert!(!page.contains(title), "{title}");
    }
}

#[test]
fn damaged_parts_are_left_out() {
    let place = Place::new();
    let damages: [(&str, &[u8], &str); 7] = [
        ("config.json", b"{", "run/config.json: not a run's configuration: "),
        ("config.json", b"[1]", "run/config.json: not a run's configuration: "),
        ("stats.jsonl", b"", "run/stats.jsonl: no statistics yet"),
        ("stats.jsonl", b"{\"step\":50}\n{\"st", "run/stats.jsonl: damaged lines: 1"),
        ("stats.jsonl", b"\xff\n", "run/stats.jsonl: stream did not contain valid UTF-8"),
        ("curves.svg", b"<svg><text>", "run/curves.svg: damaged, or not written by the trainer"),
        ("samples/000100.png", b"\x89PNG", "run/samples/000100.png: not a readable PNG: "),
    ];
    for (name, bytes, said) in damages {
        place.run_of("run");
        place.write(&format!("run/{name}"), bytes);
        let line = place.succeed("report --run run").replace('\\', "/");
        assert!(line.contains(&format!("; left out: {said}")), "{name}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_alone(&place.page("run/report.html"));
    }
    // Odd values where others are expected.
    place.run_of("run");
    place.write("run/config.json", r#"{"classes":7,"steps":"many","recipe":[],"generator":null}"#);
    place
        .write("run/stats.jsonl", "{\"step\":\"x\",\"quality\":{\"fd-\":null}}\n{\"quality\":3}\n");
    place.succeed("report --run run");
    assert_alone(&place.page("run/report.html"));
}

#[test]
fn other_directories_have_no_report() {
    let place = Place::new();
    let said = place.fail("report --run nowhere", 2);
    assert!(said.starts_with("error: nowhere: no such run directory; "), "{said}");
    let said = place.fail("report", 2);
    assert!(said.starts_with("error: runs: no run directory in it; "), "{said}");
    place.write("notes/a.txt", "");
    let said = place.fail("report --run notes", 2);
    assert!(said.starts_with("error: notes: not a run directory: notes/config.json: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    place.run_of("run");
    let said = place.fail("report --run run --out no/page.html", 2);
    assert!(said.starts_with("error: making no/page.html: "), "{said}");
}

/// A header that claims more pixels than are read, before memory is taken for them.
#[test]
fn images_too_large_are_left_out() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    place.image("run/samples/000001.png", (5, 4), ColorType::Grayscale, &[0; 20]);
    let mut png = fs::read(place.path("run/samples/000001.png")).unwrap();
    png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    // The checksum of the header's 17 bytes.
    let crc = png[12..29].iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    place.write("run/samples/000001.png", png);
    let said = place.succeed("report --run run");
    let why = "run/samples/000001.png: 65535x65535 pixels; at most 67108864 in all are read";
    assert!(said.contains(why), "{said}");
}
